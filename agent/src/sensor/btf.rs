//! Reads structure layouts from the kernel's BTF.
//!
//! `aya` parses BTF too, but keeps members to itself, and its relocations serve C objects only. What is needed here
//! is small: structures, their members, and the split BTF of the overlay module on top of the kernel's.

use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
/// Anonymous members nest only a few levels; a cycle would be a broken BTF.
const MAX_NESTING: u32 = 16;

/// A BTF that cannot be read, or that lacks what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("not BTF: magic is {0:#06x}")]
    Magic(u16),
    #[error("BTF ends early, at byte {0}")]
    Truncated(usize),
    #[error("BTF has a type of unknown kind {kind} at byte {offset}")]
    Kind { kind: u32, offset: usize },
    #[error("the kernel has no `struct {0}`")]
    NoStruct(&'static str),
    #[error("the kernel's `struct {structure}` has no field `{field}`")]
    NoField { structure: &'static str, field: &'static str },
    #[error("the kernel has no function `{0}`")]
    NoFunction(&'static str),
    #[error("field `{field}` of the kernel's `struct {structure}` is a bit field")]
    BitField { structure: &'static str, field: &'static str },
}

struct Type {
    name: u32,
    kind: u32,
    /// Members, parameters or values.
    count: u32,
    /// Bytes, or, for kinds that refer to another type, its id.
    size: u32,
    members: Vec<Member>,
}

struct Member {
    name: u32,
    type_id: u32,
    bit_offset: u32,
}

/// The kernel's types, with those of modules appended.
pub struct Btf {
    strings: Vec<u8>,
    /// Index 0 is `void`.
    types: Vec<Type>,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

impl Btf {
    /// Parses the kernel's own BTF.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let void = Type { name: 0, kind: 0, count: 0, size: 0, members: Vec::new() };
        let mut btf = Self { strings: Vec::new(), types: vec![void] };
        btf.append(bytes)?;
        Ok(btf)
    }

    /// Appends a module's BTF, whose ids and string offsets go on where the kernel's end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BtfError> {
        let (types, strings) = sections(bytes)?;
        self.strings.extend_from_slice(bytes.get(strings.clone()).ok_or(BtfError::Truncated(strings.end))?);
        let mut reader =
            Reader { bytes: bytes.get(..types.end).ok_or(BtfError::Truncated(types.end))?, at: types.start };
        while reader.at < types.end {
            self.types.push(reader.next_type()?);
        }
        Ok(())
    }

    /// Byte offset of a field, found through anonymous members too.
    pub fn offset(&self, structure: &'static str, field: &'static str) -> Result<u64, BtfError> {
        let found = self.structure(structure)?;
        let bits = self.find(found, field, 0).ok_or(BtfError::NoField { structure, field })?;
        if bits.is_multiple_of(8) { Ok(u64::from(bits / 8)) } else { Err(BtfError::BitField { structure, field }) }
    }

    /// Bytes of a structure.
    pub fn size(&self, structure: &'static str) -> Result<u64, BtfError> {
        self.structure(structure).map(|found| u64::from(found.size))
    }

    /// Whether a structure has a field.
    pub fn has(&self, structure: &'static str, field: &'static str) -> bool {
        self.structure(structure).is_ok_and(|found| self.find(found, field, 0).is_some())
    }

    /// How many parameters a function has.
    pub fn parameters(&self, function: &'static str) -> Result<u32, BtfError> {
        let named = |candidate: &&Type| candidate.kind == FUNC && self.name(candidate.name) == function.as_bytes();
        let prototype = self.types.iter().find(named).and_then(|found| self.types.get(found.size as usize));
        let prototype = prototype.filter(|prototype| prototype.kind == FUNC_PROTO);
        prototype.map(|prototype| prototype.count).ok_or(BtfError::NoFunction(function))
    }

    fn structure(&self, name: &'static str) -> Result<&Type, BtfError> {
        let wanted = name.as_bytes();
        self.types
            .iter()
            .find(|candidate| candidate.kind == STRUCT && self.name(candidate.name) == wanted)
            .ok_or(BtfError::NoStruct(name))
    }

    fn find(&self, within: &Type, field: &str, depth: u32) -> Option<u32> {
        within.members.iter().find_map(|member| {
            let name = self.name(member.name);
            if name == field.as_bytes() {
                return Some(member.bit_offset);
            }
            let inner = self.types.get(member.type_id as usize)?;
            let anonymous = name.is_empty() && matches!(inner.kind, STRUCT | UNION) && depth < MAX_NESTING;
            if anonymous { Some(self.find(inner, field, depth + 1)? + member.bit_offset) } else { None }
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// The type and string sections of a BTF file.
fn sections(bytes: &[u8]) -> Result<(Range<usize>, Range<usize>), BtfError> {
    let mut reader = Reader { bytes, at: 0 };
    let head = reader.word()?;
    let magic = u16::from_le_bytes([head.to_le_bytes()[0], head.to_le_bytes()[1]]);
    if magic != MAGIC {
        return Err(BtfError::Magic(magic));
    }
    let header = reader.word()? as usize;
    let mut section = || -> Result<Range<usize>, BtfError> {
        let start = header.saturating_add(reader.word()? as usize);
        Ok(start..start.saturating_add(reader.word()? as usize))
    };
    Ok((section()?, section()?))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn word(&mut self) -> Result<u32, BtfError> {
        let word = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or(BtfError::Truncated(self.at))?;
        self.at += 4;
        Ok(u32::from_le_bytes(*word))
    }

    fn next_type(&mut self) -> Result<Type, BtfError> {
        let offset = self.at;
        let (name, info, size) = (self.word()?, self.word()?, self.word()?);
        let (kind, count) = ((info >> 24) & 0x1f, info & 0xffff);
        let mut members = Vec::new();
        match kind {
            STRUCT | UNION => {
                for _ in 0..count {
                    members.push(self.member(info >> 31 == 1)?);
                }
            }
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG: the header is all.
            2 | 7..=FUNC | 16 | 18 => {}
            // INT, VAR, DECL_TAG: one word.
            1 | 14 | 17 => self.at += 4,
            // ARRAY: three words.
            3 => self.at += 12,
            // ENUM, FUNC_PROTO: two words each.
            6 | FUNC_PROTO => self.at += 8 * count as usize,
            // DATASEC, ENUM64: three words each.
            15 | 19 => self.at += 12 * count as usize,
            _ => return Err(BtfError::Kind { kind, offset }),
        }
        Ok(Type { name, kind, count, size, members })
    }

    fn member(&mut self, has_bit_size: bool) -> Result<Member, BtfError> {
        let (name, type_id, offset) = (self.word()?, self.word()?, self.word()?);
        Ok(Member { name, type_id, bit_offset: if has_bit_size { offset & 0x00ff_ffff } else { offset } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct a { int x; struct { long y; }; }` with hand-written bytes.
    fn sample() -> Vec<u8> {
        let strings = b"\0a\0x\0y\0";
        let words: &[u32] = &[
            0,
            1 << 24,
            4,
            32, // 1: int
            0,
            (4 << 24) | 1,
            8,
            5,
            1,
            0, // 2: struct { y }
            1,
            (4 << 24) | 2,
            16,
            3,
            1,
            0,
            0,
            2,
            64, // 3: struct a { x; struct 2 }
        ];
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for value in [24, 0, types.len(), types.len(), strings.len()] {
            bytes.extend(length(value));
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_fields_through_anonymous_members() {
        let btf = Btf::parse(&sample()).unwrap();
        assert_eq!(btf.offset("a", "x").unwrap(), 0);
        assert_eq!(btf.offset("a", "y").unwrap(), 8);
        assert_eq!(btf.size("a").unwrap(), 16);
    }

    #[test]
    fn names_what_is_missing() {
        let btf = Btf::parse(&sample()).unwrap();
        assert_eq!(btf.offset("a", "z").unwrap_err().to_string(), "the kernel's `struct a` has no field `z`");
        assert_eq!(btf.size("b").unwrap_err().to_string(), "the kernel has no `struct b`");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Btf::parse(&whole[..length]).is_err(), "{length} bytes were accepted");
        }
    }
}
