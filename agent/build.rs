//! Embeds the kernel programs, which `cargo xtask build` compiles first and names in `PLIMSOLL_EBPF_OBJECT`.
//!
//! Without that variable an empty object is embedded, so that checks and tests of user space need no kernel
//! toolchain; an agent built so refuses to load it and says why.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=PLIMSOLL_EBPF_OBJECT");
    let target = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("plimsoll.o");
    match env::var_os("PLIMSOLL_EBPF_OBJECT") {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", PathBuf::from(&object).display());
            fs::copy(&object, target).map(drop)
        }
        None => fs::write(target, []),
    }
}
