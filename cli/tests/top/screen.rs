//! What differs from run to run on a screen, made the same: the clock, ports, and when nodes were heard of.

/// Columns of an age on a screen.
const AGE: usize = 5;

/// The screen with everything that no two runs share replaced, and every column where it was.
pub(crate) fn masked(screen: &str, collector: &str) -> String {
    let mut seen = None;
    let mut masked = String::new();
    for line in screen.replace(collector, "http://COLLECTOR").lines() {
        let text = line;
        let mut line: Vec<char> = text.chars().collect();
        if let Some(at) = text.find("SEEN MISSING") {
            seen = Some(at);
        } else if text.contains("+ heard ") || text.contains("- SILENT ") {
            // Not the line of figures, which has no such column above it.
            if let Some(at) = seen {
                // The heading ends where the age does.
                let end = at + "SEEN".len();
                line[end - AGE..end].fill('#');
            }
        }
        if text.starts_with("plimsoll top") {
            let end = line.len();
            let clock = "2026-01-01 00:00:00 UTC".len();
            for place in &mut line[end - clock..end - " UTC".len()] {
                if place.is_ascii_digit() {
                    *place = '#';
                }
            }
        }
        masked.extend(line);
        masked.push('\n');
    }
    masked
}
