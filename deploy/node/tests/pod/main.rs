//! The program itself, as it is called in the agent's pod. As root: a cgroup namespace is nobody else's to make.

#[cfg(test)]
mod run;
