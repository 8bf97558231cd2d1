//! Compiles the protobufs without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["plimsoll/v1/collector.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").bytes(".plimsoll.v1.EventBatch.events").compile_fds(descriptors)?;
    Ok(())
}
