//! The shared configuration with the node's name.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

/// Characters of a Kubernetes node's name.
const MAX_NAME: usize = 253;

/// Writes the configuration of `shared` with `node` in front to `own`.
pub(crate) fn write(shared: &Path, node: &str, own: &Path) -> Result<()> {
    let text = fs::read_to_string(shared).with_context(|| format!("cannot read {}", shared.display()))?;
    let text = with_node(&text, node).with_context(|| format!("in {}", shared.display()))?;
    fs::write(own, text).with_context(|| format!("cannot write {}", own.display()))
}

fn with_node(shared: &str, node: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    ensure!(
        (1..=MAX_NAME).contains(&node.len()) && node.bytes().all(plain),
        "{node:?} is no node's name: is it spec.nodeName of the pod?"
    );
    // The agent would refuse the second one, and say less about it.
    let named = shared.lines().any(|line| line.starts_with("node:"));
    ensure!(!named, "`node` would be the same on every node: take it out, each pod adds its own");
    // Quoted, since a name can be a number.
    Ok(format!("node: \"{node}\"\n{shared}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_own_name() {
        assert_eq!(
            with_node("state: /s\n", "ip-10-0-0-1.example").unwrap(),
            "node: \"ip-10-0-0-1.example\"\nstate: /s\n"
        );
    }

    #[test]
    fn names_that_are_none_and_names_for_all_are_refused() {
        for odd in ["", "a\nb: c", "Upper", "a\"b", &"a".repeat(254)] {
            assert!(with_node("", odd).unwrap_err().to_string().contains("spec.nodeName"), "{odd:?}");
        }
        assert!(with_node("state: /s\nnode: a\n", "b").unwrap_err().to_string().contains("same on every node"));
    }
}
