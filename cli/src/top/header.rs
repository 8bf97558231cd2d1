//! The lines above the panels: the fleet in figures, and what is wrong.

use ratatui::{
    style::Style as Look,
    text::{Line, Span},
};

use super::{
    figures::Figures,
    style::{Style, marked},
    summary::{Count, Summary},
    view::View,
};
use crate::events::{printable, time};

/// All lines, no longer than `width`.
pub(super) fn lines(summary: &Summary<'_>, view: &View, width: u16, style: Style) -> Vec<Line<'static>> {
    let mut lines = vec![title(summary, view, width, style), verdicts(summary, style), nodes(summary, style)];
    lines.extend(evidence(summary));
    lines.extend(summary.agent.into_iter().flat_map(|agent| figures(agent, style)));
    for problem in summary.problems {
        lines.extend(wrapped(&problem_text(summary, problem), width).into_iter().map(|line| line.style(style.alarm())));
    }
    lines
}

fn title(summary: &Summary<'_>, view: &View, width: u16, style: Style) -> Line<'static> {
    let clock: String = time::display(summary.now_unix_ns).chars().take(19).collect();
    let left = format!("plimsoll top, last {}", length(summary.window_seconds));
    let right = format!("{}{clock} UTC", if view.is_paused { "PAUSED  " } else { "" });
    let room = usize::from(width).saturating_sub(left.chars().count() + right.chars().count());
    Line::styled(format!("{left}{:room$}{right}", ""), style.title(view.is_paused))
}

fn verdicts(summary: &Summary<'_>, style: Style) -> Line<'static> {
    let at_least = if summary.is_partial { ">=" } else { "" };
    let all = [("deny", summary.verdicts.deny), ("audit", summary.verdicts.audit), ("allow", summary.verdicts.allow)];
    let mut spans = vec![Span::raw("Verdicts  ")];
    for (verdict, count) in all {
        let text = format!("{} {at_least}{} ({}/s)   ", marked(verdict), count.events, count.rate());
        spans.push(Span::styled(text, if count.events > 0 { style.verdict(verdict) } else { Look::new() }));
    }
    if summary.is_partial {
        spans.push(Span::styled("MORE THAN WAS READ", style.alarm()));
    }
    Line::from(spans)
}

fn nodes(summary: &Summary<'_>, style: Style) -> Line<'static> {
    let heard = summary.nodes.len().saturating_sub(summary.silent);
    let alarm = |is_bad| if is_bad { style.alarm() } else { Look::new() };
    let losses: Vec<_> = summary.losses.iter().map(|(cause, count)| format!("{} {count}", printable(cause))).collect();
    let lost = if losses.is_empty() { "lost 0".to_owned() } else { format!("LOST {}", losses.join(", ")) };
    Line::from(vec![
        Span::raw(format!("Nodes     + heard {heard}   ")),
        Span::styled(format!("- silent {}   ", summary.silent), alarm(summary.silent > 0)),
        Span::styled(format!("missing {}   ", summary.missing), alarm(summary.missing > 0)),
        Span::styled(lost, alarm(!losses.is_empty())),
    ])
}

/// What stands behind the files that events are about.
fn evidence(summary: &Summary<'_>) -> Option<Line<'static>> {
    let all: Vec<_> = summary.evidence.iter().map(|(class, count)| format!("{} {count}", printable(class))).collect();
    Some(Line::raw(format!("Evidence  {}", all.join(", ")))).filter(|_| !all.is_empty())
}

fn figures(agent: &Figures, style: Style) -> [Line<'static>; 2] {
    let alarm = |is_bad| if is_bad { style.alarm() } else { Look::new() };
    let started = agent.admitted.saturating_add(agent.unselected);
    let percent = agent.admitted.saturating_mul(100).checked_div(started).unwrap_or(0);
    let first = Line::from(vec![
        Span::raw("Agent     "),
        Span::styled(if agent.is_ready { "+ ready" } else { "- NOT READY" }, alarm(!agent.is_ready)),
        Span::raw(format!("  covered {} of {started} ({percent}%)  ", agent.admitted)),
        Span::styled(format!("refused {}  ", agent.refused), alarm(agent.refused > 0)),
        Span::raw(format!("workloads {}  files {}", agent.workloads, agent.listed_files)),
    ]);
    let rate = agent.checks_per_second.map_or_else(String::new, |rate| format!(" ({rate}/s)"));
    let lost = agent.lost.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let stream = if agent.is_connected { "+ collector   " } else { "- NO COLLECTOR   " };
    let second = Line::from(vec![
        Span::raw("  kernel  "),
        Span::styled(stream, alarm(!agent.is_connected)),
        Span::styled(format!("{} {lost}   ", if lost > 0 { "LOST" } else { "lost" }), alarm(lost > 0)),
        Span::raw(format!("checked {}{rate}, denied {}, audited {}", agent.checked, agent.denied, agent.audited)),
    ]);
    [first, second]
}

fn problem_text(summary: &Summary<'_>, problem: &str) -> String {
    let since = summary.answered_unix_ns.map_or_else(
        || "nothing was answered yet".to_owned(),
        |answered| {
            let clock: String = time::display(answered).chars().skip(11).take(8).collect();
            format!("what is shown is of {clock}")
        },
    );
    format!("!! {since}; trying again: {}", printable(problem))
}

/// The words, on as many lines as they need, and three at most.
fn wrapped(text: &str, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let room = usize::from(width);
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter().take(3).map(Line::raw).collect()
}

/// A length of time in its largest whole unit.
fn length(seconds: u64) -> String {
    let whole = |unit: u64| seconds.is_multiple_of(unit).then(|| seconds / unit);
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if let Some(count) = whole(unit) {
            return format!("{count}{name}");
        }
    }
    format!("{seconds}s")
}

impl Count {
    /// A second, over the last minute, with one digit after the point.
    pub(super) fn rate(self) -> String {
        rate(self.last_minute)
    }
}

/// So many in a minute, a second.
pub(super) fn rate(last_minute: u64) -> String {
    format!("{}.{}", last_minute / 60, last_minute % 60 / 6)
}
