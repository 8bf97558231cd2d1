//! The loaded programs and their allowlist map.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use plimsoll_abi::{
    AllowKey, AllowValue, FileFilter, FileKey, FileRule, Learnt, LearntKey, NameKey, PathKey, map_names,
    network::{AddressKey, PortRanges},
};
use plimsoll_policy::Network;

/// Input of one run; the layout of `Case` in `plimsoll-tests-ebpf`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) state: u64,
    pub(crate) ino: u64,
    pub(crate) dev: u32,
    pub(crate) access: u32,
    pub(crate) origin: u32,
    pub(crate) modified: u32,
    /// 0: code, by the fields above; 1: injection; 2: an operation; 3: a capability.
    pub(crate) kind: u32,
    /// The operation's or the capability's number.
    pub(crate) operand: u32,
}

/// Input of one run on network rules; the layout of `NetworkCase` in `plimsoll-tests-ebpf`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkCase {
    pub(crate) state: u64,
    pub(crate) scope: u32,
    pub(crate) family: u32,
    pub(crate) address: [u8; 16],
    pub(crate) port: u32,
    pub(crate) protocol: u32,
    pub(crate) kind: u32,
}

/// What a program takes for a packet.
pub(crate) trait Input {
    /// Its bytes.
    fn bytes(&self) -> Vec<u8>;
}

impl Input for NetworkCase {
    fn bytes(&self) -> Vec<u8> {
        let head = [self.scope, self.family].into_iter().flat_map(u32::to_ne_bytes);
        let tail = [self.port, self.protocol, self.kind, 0].into_iter().flat_map(u32::to_ne_bytes);
        self.state.to_ne_bytes().into_iter().chain(head).chain(self.address).chain(tail).collect()
    }
}

/// Input of one run on a resolver's answer; begins as `AnswerCase` in `plimsoll-tests-ebpf`.
pub(crate) struct AnswerCase {
    pub(crate) state: u64,
    pub(crate) slot: u32,
    pub(crate) message: Vec<u8>,
}

impl Input for AnswerCase {
    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.message.len()).unwrap_or(0);
        let head = self.state.to_ne_bytes().into_iter().chain(self.slot.to_ne_bytes()).chain(length.to_ne_bytes());
        head.chain(self.message.iter().copied()).collect()
    }
}

impl Input for Case {
    fn bytes(&self) -> Vec<u8> {
        let words = [self.dev, self.access, self.origin, self.modified, self.kind, self.operand];
        let long = [self.state, self.ino].into_iter().flat_map(u64::to_ne_bytes);
        long.chain(words.into_iter().flat_map(u32::to_ne_bytes)).collect()
    }
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodKey(AllowKey);
// SAFETY: `repr(C)`, integers only, no padding; its size is asserted where it is defined.
unsafe impl Pod for PodKey {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodValue(AllowValue);
// SAFETY: as above.
unsafe impl Pod for PodValue {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodAddress(AddressKey);
// SAFETY: as above.
unsafe impl Pod for PodAddress {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodRanges(PortRanges);
// SAFETY: as above.
unsafe impl Pod for PodRanges {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodFileKey(FileKey);
// SAFETY: as above.
unsafe impl Pod for PodFileKey {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodFileRule(FileRule);
// SAFETY: as above.
unsafe impl Pod for PodFileRule {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodFilter(FileFilter);
// SAFETY: as above.
unsafe impl Pod for PodFilter {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodName(NameKey);
// SAFETY: as above.
unsafe impl Pod for PodName {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodLearntKey(LearntKey);
// SAFETY: as above.
unsafe impl Pod for PodLearntKey {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodLearnt(Learnt);
// SAFETY: as above.
unsafe impl Pod for PodLearnt {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodPathKey(PathKey);
// SAFETY: as above.
unsafe impl Pod for PodPathKey {}

/// Names are hashed with it.
const PATH_KEY: PathKey =
    PathKey { words: [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321, 0x5555_aaaa_3333_cccd, 0x7777_1111_9999_bbbd] };

pub(crate) struct Programs {
    ebpf: Ebpf,
    allow: HashMap<MapData, PodKey, PodValue>,
    addresses: LpmTrie<MapData, PodAddress, PodRanges>,
    sockets: HashMap<MapData, u32, u64>,
    capabilities: HashMap<MapData, u32, u64>,
    files: HashMap<MapData, PodFileKey, PodFileRule>,
    lists: HashMap<MapData, u32, PodFilter>,
    names: HashMap<MapData, PodName, PodRanges>,
    learnt: HashMap<MapData, PodLearntKey, PodLearnt>,
}

impl Programs {
    pub(crate) fn load(object: &Path) -> anyhow::Result<Self> {
        let mut ebpf = Ebpf::load_file(object).with_context(|| format!("cannot load `{}`", object.display()))?;
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("the kernel refuses `{name}`"))?;
        }
        let mut take = |name| ebpf.take_map(name).with_context(|| format!("the object has no map `{name}`"));
        let allow = HashMap::try_from(take(map_names::ALLOW)?)?;
        let addresses = LpmTrie::try_from(take(map_names::ADDRESSES)?)?;
        let sockets = HashMap::try_from(take(map_names::SOCKETS)?)?;
        let capabilities = HashMap::try_from(take(map_names::CAPABILITIES)?)?;
        let files = HashMap::try_from(take(map_names::FILE_RULES)?)?;
        let lists = HashMap::try_from(take(map_names::FILE_LISTS)?)?;
        let names = HashMap::try_from(take(map_names::NAMES)?)?;
        let learnt = HashMap::try_from(take(map_names::LEARNT)?)?;
        let mut key = Array::try_from(take(map_names::PATH_KEY)?)?;
        key.set(0, PodPathKey(PATH_KEY), 0)?;
        Ok(Self { ebpf, allow, addresses, sockets, capabilities, files, lists, names, learnt })
    }

    pub(crate) fn allow_network(&mut self, allowlist: u32, network: &Network) -> anyhow::Result<()> {
        for prefix in &network.prefixes {
            let (bits, key, ranges) = prefix.kernel(allowlist);
            self.addresses.insert(&Key::new(bits, PodAddress(key)), PodRanges(ranges), 0)?;
        }
        for name in &network.names {
            let (key, ranges) = name.kernel(&PATH_KEY, allowlist);
            self.names.insert(PodName(key), PodRanges(ranges), 0)?;
        }
        Ok(self.sockets.insert(allowlist, network.sockets, 0)?)
    }

    /// Whether a workload was given an address for a name.
    pub(crate) fn has_learnt(&self, slot: u32, address: IpAddr) -> anyhow::Result<bool> {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        match self.learnt.get(&PodLearntKey(LearntKey { address: address.octets(), slot, incarnation: 1 }), 0) {
            Ok(learnt) => Ok(learnt.0.names.iter().any(|name| name.until > 0)),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn allow(&mut self, key: AllowKey, value: AllowValue) -> anyhow::Result<()> {
        Ok(self.allow.insert(PodKey(key), PodValue(value), 0)?)
    }

    pub(crate) fn allow_capabilities(&mut self, allowlist: u32, capabilities: u64) -> anyhow::Result<()> {
        Ok(self.capabilities.insert(allowlist, capabilities, 0)?)
    }

    pub(crate) fn file_rule(&mut self, key: FileKey, rule: FileRule) -> anyhow::Result<()> {
        Ok(self.files.insert(PodFileKey(key), PodFileRule(rule), 0)?)
    }

    pub(crate) fn file_list(&mut self, list: u32, filter: FileFilter) -> anyhow::Result<()> {
        Ok(self.lists.insert(list, PodFilter(filter), 0)?)
    }

    /// Runs a program `repeat` times; its last return value, and the mean time of one run.
    pub(crate) fn run(&mut self, name: &str, case: &impl Input, repeat: u32) -> anyhow::Result<(u32, Duration)> {
        self.run_bytes(name, &case.bytes(), repeat)
    }

    /// The same with a packet of any layout.
    pub(crate) fn run_bytes(&mut self, name: &str, input: &[u8], repeat: u32) -> anyhow::Result<(u32, Duration)> {
        let program: &mut Xdp =
            self.ebpf.program_mut(name).with_context(|| format!("no program `{name}`"))?.try_into()?;
        let mut output = vec![0; 4096];
        let options =
            TestRunOptions { data_in: Some(input), data_out: Some(&mut output), repeat, ..Default::default() };
        let result = program.test_run(options)?;
        Ok((result.return_value, result.duration))
    }
}
