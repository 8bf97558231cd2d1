//! What an ELF file asks of the dynamic linker, by its program headers: sections may have been stripped.

use std::fs::File;

use anyhow::{Context as _, bail};
use object::{
    Endianness, FileKind,
    elf::{self, FileHeader32, FileHeader64},
    read::{
        ReadCache, ReadRef, StringTable,
        elf::{Dyn as _, FileHeader, ProgramHeader as _},
    },
};

/// Bytes of the dynamic section.
const MAX_DYNAMIC: u64 = 1 << 20;
/// Bytes of the interpreter's path, as in the kernel.
const MAX_INTERPRETER: u64 = 4096;

/// One program or library.
#[derive(Debug)]
pub(super) struct Object {
    /// Libraries of other machines and word sizes are passed over.
    pub(super) machine: Machine,
    /// `PT_INTERP`.
    pub(super) interpreter: Option<Vec<u8>>,
    /// `DT_NEEDED`, in their order.
    pub(super) needed: Vec<Vec<u8>>,
    /// `DT_SONAME`.
    pub(super) soname: Option<Vec<u8>>,
    /// `DT_RPATH`, unless there is a `DT_RUNPATH`.
    pub(super) rpath: Vec<u8>,
    /// `DT_RUNPATH`.
    pub(super) runpath: Option<Vec<u8>>,
}

/// What code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) is_64: bool,
    is_little_endian: bool,
    pub(super) code: elf::Machine,
}

/// Reads what the file asks for.
pub(super) fn read(file: File) -> anyhow::Result<Object> {
    let cache = ReadCache::new(file);
    match FileKind::parse(&cache)? {
        FileKind::Elf32 => of::<FileHeader32<Endianness>, _>(&cache),
        FileKind::Elf64 => of::<FileHeader64<Endianness>, _>(&cache),
        other => bail!("{other:?} is not ELF"),
    }
}

fn of<'data, Elf, R>(data: R) -> anyhow::Result<Object>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let machine = Machine {
        is_64: header.is_class_64(),
        is_little_endian: header.is_little_endian(),
        code: header.e_machine(endian),
    };
    let mut object =
        Object { machine, interpreter: None, needed: Vec::new(), soname: None, rpath: Vec::new(), runpath: None };
    for segment in segments {
        let (kind, size) = (segment.p_type(endian), segment.p_filesz(endian).into());
        if kind == elf::PT_INTERP && size <= MAX_INTERPRETER {
            object.interpreter = segment.interpreter(endian, data)?.map(<[u8]>::to_vec);
        } else if kind == elf::PT_DYNAMIC && size <= MAX_DYNAMIC {
            let entries = segment.dynamic(endian, data)?.unwrap_or_default();
            let end = entries.iter().position(|entry| entry.tag(endian) == elf::DT_NULL);
            let entries = entries.get(..end.unwrap_or(entries.len())).unwrap_or_default();
            object.take::<Elf, R>(entries, segments, endian, data)?;
        } else if kind == elf::PT_INTERP || kind == elf::PT_DYNAMIC {
            bail!("a header of {size} bytes for the dynamic linker");
        }
    }
    Ok(object)
}

impl Object {
    fn take<'data, Elf, R>(
        &mut self,
        entries: &'data [Elf::Dyn],
        segments: &'data [Elf::ProgramHeader],
        endian: Endianness,
        data: R,
    ) -> anyhow::Result<()>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadRef<'data>,
    {
        let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.val(endian));
        let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else { return Ok(()) };
        let start = file_offset::<Elf>(segments, endian, address).context("its names are in no segment")?;
        let strings = StringTable::new(data, start, start.saturating_add(size));
        for entry in entries {
            let tag = entry.tag(endian);
            let text = || entry.string(endian, strings).map(<[u8]>::to_vec);
            match tag {
                elf::DT_NEEDED => self.needed.push(text()?),
                elf::DT_SONAME => self.soname = Some(text()?),
                elf::DT_RPATH => self.rpath = text()?,
                elf::DT_RUNPATH => self.runpath = Some(text()?),
                _ => {}
            }
        }
        if self.runpath.is_some() {
            self.rpath.clear();
        }
        Ok(())
    }
}

/// Where in the file an address is loaded from.
fn file_offset<Elf>(segments: &[Elf::ProgramHeader], endian: Endianness, address: u64) -> Option<u64>
where
    Elf: FileHeader<Endian = Endianness>,
{
    segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(endian).into())?;
        let size: u64 = segment.p_filesz(endian).into();
        let start: u64 = segment.p_offset(endian).into();
        (within < size).then(|| start.saturating_add(within))
    })
}
