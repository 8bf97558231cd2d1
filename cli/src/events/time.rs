//! Times as people write and read them, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
const NS: u64 = 1_000_000_000;
const HELP: &str = "write `2026-01-31T08:00:00Z`, seconds since 1970, or an age such as `15m`, `2h`, `7d`";

/// Parses a time; ages count back from now.
pub(crate) fn parse_now(text: &str) -> Result<SystemTime, String> {
    parse(text, SystemTime::now()).ok_or_else(|| HELP.to_owned())
}

/// Parses a time; ages count back from `now`.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<SystemTime> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?));
    }
    for (unit, seconds) in [("s", 1), ("m", 60), ("h", 3600), ("d", DAY)] {
        if let Some(count) = text.strip_suffix(unit) {
            let age = number(count)?.checked_mul(seconds)?;
            return now.checked_sub(Duration::from_secs(age));
        }
    }
    rfc3339(text)
}

fn number(text: &str) -> Option<u64> {
    // `parse` would take a leading `+`.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM)`.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone_at);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?)?, number(time.next()?)?);
    let seconds = time.next()?;
    let (second, fraction) = match seconds.split_once('.') {
        Some((second, fraction)) => (number(second)?, nanoseconds(fraction)?),
        None => (number(seconds)?, 0),
    };
    let is_sound =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    if !is_sound || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = UNIX_EPOCH + Duration::new(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second, fraction);
    match zone.split_at_checked(1)? {
        ("Z" | "z", "") => Some(local),
        ("+", offset) => local.checked_sub(zone_offset(offset)?),
        ("-", offset) => local.checked_add(zone_offset(offset)?),
        _ => None,
    }
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    u32::try_from(number(fraction)? * 10_u64.pow(9 - digits)).ok()
}

fn zone_offset(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then(|| Duration::from_secs(hours * 3600 + minutes * 60))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    years + months + day - 1
}

/// RFC 3339 in UTC, the way the collector takes times without losing a fraction of a second.
pub(crate) fn parameter(time: SystemTime) -> String {
    // An age may reach back before 1970; nothing happened there. Nothing has happened in 2554 either.
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ns = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    let (date, time) = civil(unix_ns / NS);
    format!("{date}T{time}.{:09}Z", unix_ns % NS)
}

/// `2026-01-31 08:00:00.123` in UTC.
pub(super) fn display(unix_ns: u64) -> String {
    let (date, time) = civil(unix_ns / NS);
    format!("{date} {time}.{:03}", unix_ns % NS / 1_000_000)
}

/// Date and time of day.
fn civil(seconds: u64) -> (String, String) {
    let (mut day, second) = (seconds / DAY, seconds % DAY);
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while day >= month_days(year, month) {
        day -= month_days(year, month);
        month += 1;
    }
    let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    (format!("{year}-{month:02}-{:02}", day + 1), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<String> {
        parse(text, UNIX_EPOCH + Duration::from_secs(1_000_000_000)).map(parameter)
    }

    #[test]
    fn times_are_understood() {
        for (text, ns) in [
            ("0", "1970-01-01T00:00:00.000000000Z"),
            ("1767225600", "2026-01-01T00:00:00.000000000Z"),
            ("15m", "2001-09-09T01:31:40.000000000Z"),
            ("7d", "2001-09-02T01:46:40.000000000Z"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000000Z"),
            ("2024-02-29T23:59:59.25+01:00", "2024-02-29T22:59:59.250000000Z"),
            ("1970-01-01T00:00:00-00:30", "1970-01-01T00:30:00.000000000Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(ns), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "m",
            "-1",
            "+5m",
            "1w",
            "yesterday",
            "2026-01-01",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00Z",
            "99999999999999999999",
            "99999999999999999d",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00Zé",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(display(0), "1970-01-01 00:00:00.000");
        assert_eq!(display(1_709_251_199_250_000_000), "2024-02-29 23:59:59.250");
        assert_eq!(display(1_767_225_600_001_000_000), "2026-01-01 00:00:00.001");
    }
}
