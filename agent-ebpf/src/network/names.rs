//! Addresses of the names that rules speak of: learnt from resolvers' answers before the socket gets them, so that they count
//! when the program reads them.
//!
//! An answer counts if its question is a name that a rule covers. All addresses in it do then, whatever aliases lead to them:
//! whom to believe is what naming a resolver says.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_loop},
    maps::lpm_trie::Key,
};
use plimsoll_abi::{
    ADDRESS_LEN, LONGEST_STAY, Label, Learnt, LearntKey, LearntName, MAX_DOMAIN, NAMES_OF_ADDRESS, NameKey, PathHash,
    Reason, SHORTEST_STAY, Stat, Verdict, name_kind,
    network::{AddressKey, NO_RULE, scope},
    state,
};

use super::decide::{Flow, HOST, UDP, matching, protocols};
use crate::{
    decide::Decision,
    kernel::{forget, opaque, packet::Packet, socket::Address},
    label::{Subject, subject_of},
    maps::{ADDRESSES, ANSWER, LEARNT, NAMES, PATH_KEY},
    stats::count,
};

const DNS: u16 = 53;
/// Bytes of the longest answer that is read: the most that is sent over UDP without fragments.
pub const MESSAGE: usize = 2048;
const LONGEST: u32 = 1472;
/// Where the question's name begins.
const QUESTION: u64 = 12;
/// Records of an answer that are read.
const MAX_RECORDS: u32 = 64;
/// Labels that a name in an answer may have before it points to another one.
const MAX_LABELS: usize = 16;
/// Where a length would be, two set bits say that the name goes on elsewhere.
const POINTER: u64 = 0xc0;
const INTERNET: u64 = 1;
const IPV4: u64 = 1;
const IPV6: u64 = 28;
const SECOND: u64 = 1_000_000_000;

/// An answer that is being read. In a map, for its size, and since the verifier then knows nothing of what it holds.
pub struct Answer {
    /// As it came.
    pub message: [u8; MESSAGE],
    /// Where lengths of labels are in the question's name, one bit for each byte.
    marks: [u64; 4],
    length: u64,
    /// Where reading is.
    at: u64,
    /// Bytes of the question's name; 0 until its end was found.
    name_length: u64,
    hash: PathHash,
    /// What rules have of the question's name; `until` is not 0 if they have it.
    name: LearntName,
    allowlist: u32,
    slot: u32,
    incarnation: u32,
    /// Records read.
    taken: u64,
}

/// What is asked of every name that an address has.
struct Asked {
    learnt: &'static Learnt,
    now: u64,
    allowlist: u32,
    port: u16,
    protocols: u16,
    /// The rule that allows it, or [`NO_RULE`].
    rule: u64,
}

/// Decides on an address that no rule for addresses allows: `None` if it is not one of an allowed name's.
#[inline(always)]
pub fn decide(subject: &Subject, flow: &Flow) -> Option<Decision> {
    let protocols = protocols(flow.protocol)?;
    let (slot, incarnation) = (subject.label.slot, subject.label.incarnation);
    let learnt = LEARNT.get_ptr(LearntKey { address: flow.address, slot, incarnation })?;
    // SAFETY: an entry of the map, which keeps its memory. It may come to be another address's meanwhile, but only once this one
    // was forgotten; whatever is read then is on no list of this workload's, or allowed it a moment ago.
    let learnt = unsafe { &*learnt };
    // SAFETY: the helper reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let allowlist = state::allowlist(subject.state);
    let mut asked = Asked { learnt, now, allowlist, port: flow.port, protocols, rule: u64::from(NO_RULE) };
    forget(&mut asked.rule);
    // SAFETY: the callback has the shape that the helper wants, and the context outlives the call.
    unsafe { bpf_loop(NAMES_OF_ADDRESS as u32, ask as *mut _, (&raw mut asked).cast(), 0) };
    let rule = asked.rule as u32;
    (rule != u32::from(NO_RULE)).then_some(Decision { verdict: Verdict::Allow, reason: Reason::Listed, rule })
}

/// Asks for one name's rules; 1 ends the asking. A loop of the kernel's own: unrolled, it took verifiers 400,000 instructions.
extern "C" fn ask(index: u64, asked: *mut Asked) -> u64 {
    // SAFETY: the context that `decide` hands over.
    let asked = unsafe { &mut *asked };
    let index = opaque(index & 0xffff_ffff) as usize;
    if index >= NAMES_OF_ADDRESS {
        return 1;
    }
    // SAFETY: checked just now.
    let name = unsafe { asked.learnt.names.get_unchecked(index) };
    if name.until <= asked.now {
        return 0;
    }
    let key = NameKey { hash: name.hash, allowlist: asked.allowlist, kind: name.kind as u32 };
    // SAFETY: entries are removed only after no workload names their allowlist.
    let Some(ranges) = (unsafe { NAMES.get(key) }) else { return 0 };
    match matching(ranges, asked.port, asked.protocols) {
        Some(rule) => {
            asked.rule = u64::from(rule);
            1
        }
        None => 0,
    }
}

/// Takes addresses from a packet that is on its way to a socket of a workload with names in its rules.
#[inline(always)]
pub fn learn(packet: &Packet<'_>) {
    let Some(datagram) = packet.datagram_from(DNS) else { return };
    // A workload that answers itself is no resolver, whatever address it writes into its packets.
    if packet.is_from_loopback() {
        return;
    }
    let Some(subject) = subject_of(packet.cgroup()) else { return };
    if subject.state & state::NAME_RULES == 0 || !is_resolver(&subject, datagram.source) {
        return;
    }
    let Some(answer) = answer() else { return count(Stat::AnswerUnreadable) };
    if datagram.length > LONGEST || !packet.copy(datagram.offset, datagram.length, &mut answer.message) {
        return count(Stat::AnswerUnreadable);
    }
    if !read(datagram.length, subject.state, subject.label) {
        count(Stat::AnswerUnreadable);
    }
}

#[inline(always)]
fn is_resolver(subject: &Subject, source: Address) -> bool {
    let flow = Flow::new(scope::RESOLVER, source, DNS, UDP);
    let allowlist = state::allowlist(subject.state);
    ADDRESSES.get(Key::new(HOST, AddressKey { allowlist, scope: flow.scope, address: flow.address })).is_some()
}

/// Takes the addresses of the answer that was copied into the buffer. `false` if there is something that could not be read; what
/// was read up to there counts.
#[inline(always)]
pub fn read(length: u32, state: u64, label: Label) -> bool {
    let (Some(answer), Some(key)) = (answer(), PATH_KEY.get(0)) else { return false };
    answer.begin(u64::from(length), key.root(), state::allowlist(state), label);
    if !answer.is_one() {
        return true;
    }
    if answer.short(4) != 1 {
        return false;
    }
    repeat(MAX_DOMAIN as u32, find_label);
    // Asked for anew: what a loop changes, it changes through a reference of its own.
    let Some(answer) = self::answer() else { return false };
    let length = answer.name_length;
    // The name's end, its type and class come before the first record.
    let records = QUESTION + length + 5;
    if length == 0 || records > answer.length {
        return false;
    }
    repeat(length as u32, fold);
    let Some(answer) = self::answer() else { return false };
    if answer.name.until == 0 {
        return true;
    }
    answer.at = records;
    let records = answer.short(6);
    repeat((records as u32).min(MAX_RECORDS), take_record);
    self::answer().is_some_and(|answer| answer.taken == records)
}

type Step = extern "C" fn(u64, *mut c_void) -> u64;

#[inline(always)]
fn repeat(times: u32, step: Step) {
    // SAFETY: the callback has the shape that the helper wants; it has no context.
    unsafe { bpf_loop(times, step as *mut _, null_mut(), 0) };
}

/// Every step of a loop asks anew: the verifier checks a step by itself.
#[inline(always)]
pub fn answer() -> Option<&'static mut Answer> {
    // SAFETY: an element of a per-CPU array. Packets are handed to sockets with bottom halves off, so that nothing else on this
    // CPU reads another answer meanwhile.
    ANSWER.get_ptr_mut(0).map(|answer| unsafe { &mut *answer })
}

/// Finds the next label of the question's name; 1 ends the search.
extern "C" fn find_label(_index: u64, _context: *mut c_void) -> u64 {
    let Some(answer) = answer() else { return 1 };
    let place = answer.at.wrapping_sub(QUESTION);
    let length = answer.byte(answer.at);
    if length == 0 {
        answer.name_length = place;
        return 1;
    }
    if length >= 64 || place.wrapping_add(length) >= MAX_DOMAIN as u64 {
        return 1;
    }
    answer.mark(place);
    answer.at = answer.at.wrapping_add(length + 1);
    0
}

/// Takes one more byte from the question's end, and asks for rules wherever a label begins.
extern "C" fn fold(index: u64, _context: *mut c_void) -> u64 {
    let (Some(answer), Some(key)) = (answer(), PATH_KEY.get(0)) else { return 1 };
    let place = answer.name_length.wrapping_sub((index & 0xffff_ffff) + 1);
    let byte = answer.byte(QUESTION.wrapping_add(place));
    let lower = if byte.wrapping_sub(u64::from(b'A')) < 26 { byte + 32 } else { byte };
    answer.hash = key.step(answer.hash, lower);
    if answer.is_marked(place) {
        let kind = if place == 0 { name_kind::EXACT } else { name_kind::BELOW };
        let hash = answer.hash;
        // SAFETY: only whether it is there is asked.
        if unsafe { NAMES.get(NameKey { hash, allowlist: answer.allowlist, kind }) }.is_some() {
            answer.name = LearntName { hash, kind: u64::from(kind), until: 1 };
        }
    }
    0
}

/// Reads one record; 1 ends the reading.
extern "C" fn take_record(_index: u64, _context: *mut c_void) -> u64 {
    let Some(answer) = answer() else { return 1 };
    let at = after_name(answer);
    if at == 0 {
        return 1;
    }
    let end = at.wrapping_add(10).wrapping_add(answer.short(at.wrapping_add(8)));
    if end > answer.length {
        return 1;
    }
    answer.at = end;
    answer.taken = answer.taken.wrapping_add(1);
    if answer.short(at.wrapping_add(2)) != INTERNET {
        return 0;
    }
    let data = at.wrapping_add(10);
    let address = match (answer.short(at), end.wrapping_sub(data)) {
        (IPV4, 4) => Address::V4(answer.word(data)),
        (IPV6, 16) => Address::V6([0, 4, 8, 12].map(|offset| answer.word(data.wrapping_add(offset)))),
        _ => return 0,
    };
    let stay = u64::from(u32::from_be(answer.word(at.wrapping_add(4)))).clamp(SHORTEST_STAY, LONGEST_STAY);
    let flow = Flow::new(scope::RESOLVER, address, 0, 0);
    if may_be_a_names(&flow) {
        remember(answer, flow.address, stay);
    }
    0
}

/// Where a record goes on after its name; 0 if that cannot be told. No `Option`: its unset half is a register that verifiers
/// refuse.
#[inline(always)]
fn after_name(answer: &Answer) -> u64 {
    let mut at = answer.at;
    for _ in 0..MAX_LABELS {
        let length = answer.byte(at);
        if length == 0 {
            return at.wrapping_add(1);
        }
        if length >= POINTER {
            return at.wrapping_add(2);
        }
        if length >= 64 {
            return 0;
        }
        at = at.wrapping_add(length + 1);
    }
    0
}

/// Whoever owns an allowed name chooses its addresses. The machine itself and its link, where clouds keep credentials, are not
/// theirs to give: such addresses need rules of their own.
#[inline(always)]
fn may_be_a_names(flow: &Flow) -> bool {
    let address = &flow.address;
    if flow.scope & scope::IPV6 == 0 {
        return !matches!((address[12], address[13]), (0 | 127 | 224..=255, _) | (169, 254));
    }
    !(address[0] == 0 && address[1] == 0) && address[0] != 0xff && !(address[0] == 0xfe && address[1] & 0xc0 == 0x80)
}

#[inline(always)]
fn remember(answer: &Answer, address: [u8; ADDRESS_LEN], stay: u64) {
    // SAFETY: the helper reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let name = LearntName { until: now + stay * SECOND, ..answer.name };
    let key = LearntKey { address, slot: answer.slot, incarnation: answer.incarnation };
    if let Some(learnt) = LEARNT.get_ptr_mut(key) {
        // SAFETY: an entry of the map. Two answers at once may both change it: then one of the two names may be missing, or stay as
        // long as the other one.
        add(unsafe { &mut *learnt }, name);
    } else {
        let mut learnt = Learnt::NOTHING;
        learnt.names[0] = name;
        if LEARNT.insert(key, learnt, 0).is_err() {
            count(Stat::AnswerUnreadable);
            return;
        }
    }
    count(Stat::AddressLearnt);
}

/// Puts a name in its own place, or in that of the one that is over first.
#[inline(always)]
fn add(learnt: &mut Learnt, name: LearntName) {
    let mut place = 0;
    let mut first = u64::MAX;
    for (index, known) in learnt.names.iter().enumerate() {
        let own = known.hash == name.hash && known.kind == name.kind;
        let until = if own { 0 } else { known.until };
        if until < first {
            first = until;
            place = index;
        }
    }
    for (index, known) in learnt.names.iter_mut().enumerate() {
        if index == place {
            *known = name;
        }
    }
}

impl Answer {
    #[inline(always)]
    fn begin(&mut self, length: u64, root: PathHash, allowlist: u32, label: Label) {
        self.marks = [0; 4];
        self.length = length;
        self.at = QUESTION;
        self.name_length = 0;
        self.hash = root;
        self.name = Learnt::NOTHING.names[0];
        self.allowlist = allowlist;
        self.slot = label.slot;
        self.incarnation = label.incarnation;
        self.taken = 0;
    }

    /// Questions, other operations and errors have no addresses.
    #[inline(always)]
    fn is_one(&self) -> bool {
        self.length >= QUESTION && self.byte(2) & 0xf8 == 0x80 && self.byte(3).is_multiple_of(16)
    }

    /// The byte at a place; places beyond the buffer begin anew, and no place beyond the message is believed.
    #[inline(always)]
    fn byte(&self, at: u64) -> u64 {
        let index = opaque(at) as usize & (MESSAGE - 1);
        // SAFETY: masked to the buffer's size.
        u64::from(unsafe { *self.message.get_unchecked(index) })
    }

    /// Two bytes, the higher one first.
    #[inline(always)]
    fn short(&self, at: u64) -> u64 {
        self.byte(at) << 8 | self.byte(at.wrapping_add(1))
    }

    /// Four bytes in the order they have.
    #[inline(always)]
    fn word(&self, at: u64) -> u32 {
        u32::from_ne_bytes([0, 1, 2, 3].map(|offset| self.byte(at.wrapping_add(offset)) as u8))
    }

    #[inline(always)]
    fn mark(&mut self, place: u64) {
        let word = (opaque(place) >> 6) as usize & 3;
        // SAFETY: masked to the number of words.
        unsafe { *self.marks.get_unchecked_mut(word) |= 1 << (place & 63) };
    }

    #[inline(always)]
    fn is_marked(&self, place: u64) -> bool {
        let word = (opaque(place) >> 6) as usize & 3;
        // SAFETY: masked to the number of words.
        let word = unsafe { *self.marks.get_unchecked(word) };
        word >> (place & 63) & 1 != 0
    }
}
