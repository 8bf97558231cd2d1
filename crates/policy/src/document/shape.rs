//! The names of the language: which mapping holds which fields.

/// What a mapping may hold.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// Its fields, in the order of the reference.
    pub(super) fields: &'static [&'static str],
}

impl Shape {
    /// What a field holds, itself or as the items of a list, where that has fields of its own.
    pub(super) fn inside(&self, field: &str) -> Option<&'static Self> {
        Some(match (self.name, field) {
            ("the document", "metadata") => &METADATA,
            ("the document", "spec") => &SPEC,
            ("`spec`", "selector") => &SELECTOR,
            ("`spec`", "allow") => &ADDITION,
            ("`spec`", "files") => &FILE,
            ("`spec`", "network") => &NETWORK,
            ("`spec`", "hardening") => &HARDENING,
            ("`spec`", "sbom") => &SBOM,
            ("`spec.selector`", "image") => &IMAGE,
            ("`spec.network`", "egress") => &EGRESS,
            ("`spec.network`", "bind") => &BIND,
            ("`spec.network`", "ingress") => &INGRESS,
            ("`spec.sbom`", "signedBy") => &SIGNER,
            _ => return None,
        })
    }
}

pub(super) static DOCUMENT: Shape = Shape { name: "the document", fields: &["apiVersion", "kind", "metadata", "spec"] };
pub(super) static METADATA: Shape =
    Shape { name: "`metadata`", fields: &["name", "namespace", "labels", "annotations"] };
pub(super) static SPEC: Shape = Shape {
    name: "`spec`",
    fields: &[
        "selector",
        "mode",
        "evidence",
        "anonymousExec",
        "allow",
        "files",
        "scripts",
        "network",
        "hardening",
        "sbom",
    ],
};
pub(super) static SELECTOR: Shape = Shape { name: "`spec.selector`", fields: &["image", "labels", "namespace"] };
pub(super) static IMAGE: Shape = Shape { name: "`spec.selector.image`", fields: &["digest", "reference"] };
pub(super) static ADDITION: Shape = Shape { name: "an entry of `spec.allow`", fields: &["path", "sha256", "reason"] };
pub(super) static NETWORK: Shape =
    Shape { name: "`spec.network`", fields: &["loopback", "resolvers", "egress", "bind", "ingress", "sockets"] };
pub(super) static EGRESS: Shape =
    Shape { name: "an entry of `spec.network.egress`", fields: &["cidr", "dns", "ports", "protocol"] };
pub(super) static BIND: Shape =
    Shape { name: "an entry of `spec.network.bind`", fields: &["cidr", "ports", "protocol"] };
pub(super) static INGRESS: Shape =
    Shape { name: "an entry of `spec.network.ingress`", fields: &["cidr", "ports", "protocol"] };
pub(super) static HARDENING: Shape = Shape {
    name: "`spec.hardening`",
    fields: &[
        "ptrace",
        "bpf",
        "perfEvent",
        "kernelCode",
        "mount",
        "userNamespace",
        "setns",
        "keyring",
        "ioUring",
        "kernelFiles",
        "kernelLog",
        "clock",
        "deviceFile",
        "chroot",
        "capabilities",
    ],
};

pub(super) static FILE: Shape = Shape { name: "an entry of `spec.files`", fields: &["path", "deny", "allow"] };

pub(super) static SBOM: Shape = Shape { name: "`spec.sbom`", fields: &["signedBy", "unsigned"] };
pub(super) static SIGNER: Shape =
    Shape { name: "an entry of `spec.sbom.signedBy`", fields: &["key", "identity", "issuer"] };

/// Every mapping, the outer ones first; `metadata` last, since it shares names with a selector, which is meant more often.
pub(super) static ALL: [&Shape; 14] = [
    &DOCUMENT, &SPEC, &SELECTOR, &IMAGE, &ADDITION, &NETWORK, &EGRESS, &BIND, &INGRESS, &HARDENING, &FILE, &SBOM,
    &SIGNER, &METADATA,
];
