//! A real client and a real SQLite file against a collector in this process.

#[cfg(test)]
mod export;
#[cfg(test)]
mod findings;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod queries;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod running;
#[cfg(test)]
mod security;
#[cfg(test)]
mod store_and_query;
