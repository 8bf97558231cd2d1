//! Drawing a summary. The same widgets give the screen and the text of `--once`.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    text::{Line, Text},
    widgets::{Clear, Paragraph, Widget},
};

use super::{
    header,
    panels::{FRAME, NODES, WIDE, deviations, nodes, workloads},
    style::Style,
    summary::Summary,
    view::View,
};
use crate::events::printable;

/// Rows of each panel that `--once` prints.
const ROWS: usize = 1000;

const KEYS: &str = "q quit  ? help  p pause  s sort  r reverse  d order  n namespace  Tab panel";
const HELP: &str = " q, Ctrl-C   end
 p           pause: keep what is shown, until p again
 space       ask now, for the whole window
 s, r        sort workloads (denied, audited, allowed, rate, last, name); reverse
 d           deviations: the latest first, or the most frequent
 n           only namespaces that contain what you type; Enter keeps, Esc drops
 Tab         choose a panel; j k, arrows, PgUp PgDn, Home scroll it

 x deny      it was refused          + heard    the node was heard of
 ! audit     it would be refused     - SILENT   it was not; its events wait there
 . allow     it ran (counted only if agents report executions)

 missing     numbers of events that were skipped and have not come
 LOST        what a node could not keep; `plimsoll nodes` tells since when
 /s          verdicts a second, over the last minute
 covered     containers under a policy, of those that started on the agent's node

 any key goes back";

/// Draws everything into `area`.
pub(super) fn draw(summary: &Summary<'_>, view: &View, area: Rect, buffer: &mut Buffer, style: Style) {
    let header = header::lines(summary, view, area.width, style);
    let height = u16::try_from(header.len()).unwrap_or(u16::MAX);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(height), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    Text::from(header).render(top, buffer);
    let panels = panels(summary, middle);
    workloads(summary, view, panels.workloads, style).render(panels.workloads, buffer);
    deviations(summary, view, panels.deviations, style).render(panels.deviations, buffer);
    nodes(summary, view, panels.nodes, style).render(panels.nodes, buffer);
    footer(view, style).render(bottom, buffer);
    if view.shows_help {
        Clear.render(middle, buffer);
        Paragraph::new(HELP).render(middle, buffer);
    }
}

/// What the screen would show if it were high enough, as lines without blanks at their ends.
pub(super) fn text(summary: &Summary<'_>, view: &View, width: u16, style: Style) -> String {
    let header = u16::try_from(header::lines(summary, view, width, style).len()).unwrap_or(u16::MAX);
    let [workloads, deviations, nodes] = demands(summary);
    let rows = if width < WIDE { workloads + deviations + nodes } else { workloads.max(nodes) + deviations };
    // Without the last line, which has the keys.
    let area = Rect::new(0, 0, width, header.saturating_add(rows).saturating_add(1));
    let mut buffer = Buffer::empty(area);
    draw(summary, view, area, &mut buffer, style);
    let text = lines(&buffer);
    text.trim_end().trim_end_matches(KEYS).trim_end().to_owned() + "\n"
}

/// A buffer's lines, without blanks at their ends.
pub(super) fn lines(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width).max(1)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

struct Panels {
    workloads: Rect,
    deviations: Rect,
    nodes: Rect,
}

/// Where each panel is: above each other, or the nodes on the right where there is room.
fn panels(summary: &Summary<'_>, area: Rect) -> Panels {
    let [for_workloads, for_deviations, for_nodes] = demands(summary);
    if area.width < WIDE {
        let heights = shares([for_workloads, for_deviations, for_nodes], area.height);
        let [workloads, deviations, nodes] = Layout::vertical(heights.map(Constraint::Length)).areas(area);
        return Panels { workloads, deviations, nodes };
    }
    let [above, below, _] = shares([for_workloads.max(for_nodes), for_deviations, 0], area.height);
    let [above, deviations] = Layout::vertical([above, below].map(Constraint::Length)).areas(area);
    let [workloads, _gap, nodes] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Length(NODES)]).areas(above);
    Panels { workloads, deviations, nodes }
}

/// Lines that each panel would fill.
fn demands(summary: &Summary<'_>) -> [u16; 3] {
    let rows = |count: usize| u16::try_from(count.clamp(1, ROWS)).unwrap_or(u16::MAX).saturating_add(FRAME);
    [rows(summary.workloads.len()), rows(summary.deviations.len()), rows(summary.nodes.len())]
}

/// Gives each what it demands, or lines in turn as long as there are any.
fn shares(demands: [u16; 3], room: u16) -> [u16; 3] {
    let mut shares = [0; 3];
    let mut left = room;
    while left > 0 && shares != demands {
        for (share, demand) in shares.iter_mut().zip(demands) {
            if *share < demand && left > 0 {
                *share += 1;
                left -= 1;
            }
        }
    }
    shares
}

fn footer(view: &View, style: Style) -> Line<'static> {
    match view.before {
        Some(_) => Line::styled(
            format!("namespaces that contain: {}_   Enter keeps, Esc drops", printable(&view.namespace)),
            style.title(true),
        ),
        None => Line::raw(KEYS),
    }
}
