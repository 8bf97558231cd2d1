//! The loaded programs and their allowlist map.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use plimsoll_abi::{AllowKey, AllowValue, FileFilter, FileKey, FileRule, map_names};

/// Input of one run; the layout of `Case` in `plimsoll-tests-ebpf`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) state: u64,
    pub(crate) ino: u64,
    pub(crate) dev: u32,
    pub(crate) access: u32,
    pub(crate) origin: u32,
    pub(crate) modified: u32,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let words = [self.dev, self.access, self.origin, self.modified];
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

pub(crate) struct Programs {
    ebpf: Ebpf,
    allow: HashMap<MapData, PodKey, PodValue>,
    files: HashMap<MapData, PodFileKey, PodFileRule>,
    lists: HashMap<MapData, u32, PodFilter>,
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
        let files = HashMap::try_from(take(map_names::FILE_RULES)?)?;
        let lists = HashMap::try_from(take(map_names::FILE_LISTS)?)?;
        Ok(Self { ebpf, allow, files, lists })
    }

    pub(crate) fn allow(&mut self, key: AllowKey, value: AllowValue) -> anyhow::Result<()> {
        Ok(self.allow.insert(PodKey(key), PodValue(value), 0)?)
    }

    pub(crate) fn file_rule(&mut self, key: FileKey, rule: FileRule) -> anyhow::Result<()> {
        Ok(self.files.insert(PodFileKey(key), PodFileRule(rule), 0)?)
    }

    pub(crate) fn file_list(&mut self, list: u32, filter: FileFilter) -> anyhow::Result<()> {
        Ok(self.lists.insert(list, PodFilter(filter), 0)?)
    }

    /// Runs a program `repeat` times; its last return value, and the mean time of one run.
    pub(crate) fn run(&mut self, name: &str, case: &Case, repeat: u32) -> anyhow::Result<(u32, Duration)> {
        self.run_bytes(name, &case.bytes(), repeat)
    }

    /// The same with a packet of any layout.
    pub(crate) fn run_bytes(&mut self, name: &str, input: &[u8], repeat: u32) -> anyhow::Result<(u32, Duration)> {
        let program: &mut Xdp =
            self.ebpf.program_mut(name).with_context(|| format!("no program `{name}`"))?.try_into()?;
        let mut output = vec![0; 1024];
        let options =
            TestRunOptions { data_in: Some(input), data_out: Some(&mut output), repeat, ..Default::default() };
        let result = program.test_run(options)?;
        Ok((result.return_value, result.duration))
    }
}
