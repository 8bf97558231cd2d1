//! Compiles the protobufs without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let own = protox::compile(["plimsoll/v1/collector.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").bytes(".plimsoll.v1.EventBatch.events").compile_fds(own)?;
    let images = protox::compile(["cri/v1/api.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(images)?;
    // Their services are spoken over ttrpc, for which there is no code to generate.
    let containers = protox::compile(["nri/v1alpha1/api.proto", "ttrpc/ttrpc.proto"], ["proto"])?;
    let messages = tonic_prost_build::configure().build_client(false).build_server(false).btree_map(".");
    messages.compile_fds(containers)?;
    Ok(())
}
