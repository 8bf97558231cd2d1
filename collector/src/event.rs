//! Events as they are served: the protocol's fields in snake_case, enumerations as the words of `plimsoll-abi`.

use std::collections::BTreeMap;

use plimsoll_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::json::{self, Kind, word};

/// Who sent an event, and when it was stored.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) node: String,
    pub(crate) boot_id: String,
    pub(crate) spool_id: String,
    pub(crate) received_unix_ns: i64,
}

/// One decision of a node's kernel. An object the agent knows nothing of is null, a text it does not know is empty.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    pub(crate) node: String,
    pub(crate) boot_id: String,
    pub(crate) spool_id: String,
    pub(crate) received_unix_ns: i64,
    /// Place in the numbering of node, boot and spool, from 1.
    pub(crate) sequence: u64,
    pub(crate) kernel_sequence: u64,
    pub(crate) time_unix_ns: u64,
    #[schema(schema_with = json::verdict_schema)]
    pub(crate) verdict: String,
    #[schema(schema_with = json::reason_schema)]
    pub(crate) reason: String,
    #[schema(schema_with = json::hook_schema)]
    pub(crate) hook: String,
    #[schema(required)]
    pub(crate) process: Option<Process>,
    #[schema(required)]
    pub(crate) file: Option<File>,
    #[schema(required)]
    pub(crate) package: Option<Package>,
    pub(crate) evidence: String,
    pub(crate) sbom_digest: String,
    #[schema(required)]
    pub(crate) image: Option<Image>,
    #[schema(required)]
    pub(crate) workload: Option<Workload>,
    #[schema(required)]
    pub(crate) policy: Option<Policy>,
    #[schema(schema_with = json::mode_schema)]
    pub(crate) mode: String,
    #[schema(required)]
    pub(crate) network: Option<Network>,
    pub(crate) operation: String,
    #[schema(required)]
    pub(crate) cloud: Option<Cloud>,
}

/// Whose machine the node is; what is not known is empty.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cloud {
    /// `aws`, `gcp`, `azure` or `none`.
    pub(crate) provider: String,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) account: String,
    pub(crate) instance: String,
}

/// Who acted; ids as the node counts them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Process {
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    pub(crate) comm: String,
    /// The parent first.
    pub(crate) ancestors: Vec<Ancestor>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ancestor {
    pub(crate) tgid: u32,
    pub(crate) comm: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct File {
    pub(crate) path: String,
    /// In hexadecimal, only if the path is not UTF-8.
    pub(crate) path_raw: String,
    pub(crate) path_is_name_only: bool,
    pub(crate) dev: u32,
    pub(crate) ino: u64,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) sha256: String,
    #[schema(schema_with = json::origin_schema)]
    pub(crate) origin: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) purl: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) reference: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Workload {
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) cgroup: u64,
    /// Empty outside of Kubernetes.
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    pub(crate) container: String,
    #[schema(required)]
    pub(crate) owner: Option<Owner>,
    pub(crate) service_account: String,
}

/// Who made the pod.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) generation: String,
    /// The rule that decided or would have to allow it; empty if none.
    pub(crate) rule: String,
    /// Who stands behind it: `bundle`, `cluster`, `directory` or `namespace`; empty if an older agent sent it.
    pub(crate) authority: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Network {
    pub(crate) address: String,
    pub(crate) port: u32,
    pub(crate) protocol: String,
}

impl Event {
    pub(crate) fn new(source: Source, event: v1::Event) -> Self {
        Self {
            node: source.node,
            boot_id: source.boot_id,
            spool_id: source.spool_id,
            received_unix_ns: source.received_unix_ns,
            sequence: event.sequence,
            kernel_sequence: event.kernel_sequence,
            time_unix_ns: event.time_unix_ns,
            verdict: word(Kind::Verdict, event.verdict),
            reason: word(Kind::Reason, event.reason),
            hook: word(Kind::Hook, event.hook),
            process: event.process.map(Process::from),
            file: event.file.map(File::from),
            package: event.package.map(|v1::Package { name, version, purl }| Package { name, version, purl }),
            evidence: event.evidence,
            sbom_digest: event.sbom_digest,
            image: event.image.map(|v1::Image { digest, reference }| Image { digest, reference }),
            workload: event.workload.map(Workload::from),
            policy: event.policy.map(|v1::Policy { name, generation, rule, authority }| Policy {
                name,
                generation,
                rule,
                authority,
            }),
            mode: word(Kind::Mode, event.mode),
            network: event.network.map(|v1::Network { address, port, protocol }| Network { address, port, protocol }),
            operation: event.operation,
            cloud: event.cloud.map(|v1::Cloud { provider, region, zone, account, instance }| Cloud {
                provider,
                region,
                zone,
                account,
                instance,
            }),
        }
    }
}

impl From<v1::Workload> for Workload {
    fn from(workload: v1::Workload) -> Self {
        Self {
            id: workload.id,
            namespace: workload.namespace,
            labels: workload.labels.into_iter().collect(),
            cgroup: workload.cgroup,
            pod: workload.pod,
            pod_uid: workload.pod_uid,
            container: workload.container,
            owner: workload.owner.map(|v1::Owner { kind, name }| Owner { kind, name }),
            service_account: workload.service_account,
        }
    }
}

impl From<v1::Process> for Process {
    fn from(process: v1::Process) -> Self {
        let ancestors = process.ancestors.into_iter().map(|v1::Ancestor { tgid, comm }| Ancestor { tgid, comm });
        Self {
            tgid: process.tgid,
            tid: process.tid,
            uid: process.uid,
            comm: process.comm,
            ancestors: ancestors.collect(),
        }
    }
}

impl From<v1::File> for File {
    fn from(file: v1::File) -> Self {
        Self {
            path: file.path,
            path_raw: hex::encode(&file.path_raw),
            path_is_name_only: file.path_is_name_only,
            dev: file.dev,
            ino: file.ino,
            size: file.size,
            sha256: file.sha256,
            origin: word(Kind::Origin, file.origin),
        }
    }
}

impl Event {
    /// One sentence for people, which is no more than a part of what the fields say.
    pub(crate) fn summary(&self) -> String {
        let path = self.file.as_ref().map(|file| file.path.clone()).filter(|path| !path.is_empty());
        let peer = self.network.as_ref().filter(|network| !network.address.is_empty());
        let peer = peer.map(|network| format!("{} port {}/{}", network.address, network.port, network.protocol));
        let what = peer.or(path).or_else(|| Some(self.operation.clone()).filter(|operation| !operation.is_empty()));
        let what = what.map_or_else(String::new, |what| format!(" of {what}"));
        format!("{}{what}: {}, {}", self.hook, self.verdict, self.reason)
    }
}
