//! Debian's `docker-registry` on loopback, holding an image with everything attached to it that `plimsoll sbom` looks for.
#![cfg(test)]

#[path = "../../../crates/trust/tests/authority/mod.rs"]
mod authority;

mod registry {
    mod api;
    mod attached;
    mod image;
    mod reached;
    mod refused;
    mod server;
}
