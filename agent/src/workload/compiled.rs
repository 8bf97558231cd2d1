//! Policies compiled for images: workloads of one image under one policy share what was compiled for the first of them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use plimsoll_policy::{Authority, CompileError, CompiledPolicy, Policy};
use plimsoll_sbom::Sha256;

use super::image::Image;

/// An image's identity, and what tells policies apart: generation, authority and name.
type Key = (String, Sha256, Authority, String);

/// What is compiled and in use.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    shared: HashMap<Key, Weak<CompiledPolicy>>,
    /// How many there may be before those that nobody uses any more are looked for.
    bound: usize,
}

impl Compiled {
    /// The policy for the image.
    pub(super) fn get(&mut self, policy: &Policy, image: &Image) -> Result<Arc<CompiledPolicy>, CompileError> {
        let key = (image.identity.clone(), policy.generation, policy.authority, policy.name.clone());
        if let Some(compiled) = self.shared.get(&key).and_then(Weak::upgrade) {
            return Ok(compiled);
        }
        let compiled = Arc::new(plimsoll_policy::compile(policy, &image.inventory)?);
        if self.shared.len() >= self.bound {
            self.shared.retain(|_, compiled| compiled.strong_count() > 0);
            self.bound = 2 * self.shared.len() + 16;
        }
        self.shared.insert(key, Arc::downgrade(&compiled));
        Ok(compiled)
    }
}
