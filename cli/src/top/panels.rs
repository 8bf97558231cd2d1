//! The panels: workloads, deviations, nodes. Rows that do not fit are passed over, and the title says which are shown.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::Style as Look,
    text::Line,
    widgets::{Row, Table, Widget},
};

use super::{
    header::rate,
    style::{Style, marked},
    summary::{Deviation, NodeRow, Summary, Workload},
    view::{Order, Panel, View},
};
use crate::events::{printable, time};

/// From this width on, nodes are beside the workloads, and deviations have more columns.
pub(super) const WIDE: u16 = 120;
/// Columns of the nodes beside the workloads.
pub(super) const NODES: u16 = 42;
/// Rows of a panel that are not its content: title and headings.
pub(super) const FRAME: u16 = 2;
/// A container's id is long, and its beginning tells it apart.
const WORKLOAD: usize = 12;

pub(super) fn workloads(summary: &Summary<'_>, view: &View, area: Rect, style: Style) -> Titled {
    let about = match (view.namespace.as_str(), view.is_reversed) {
        ("", false) => format!("by {}", view.sort.name()),
        ("", true) => format!("by {}, reversed", view.sort.name()),
        (namespace, reversed) => {
            let reversed = if reversed { ", reversed" } else { "" };
            format!("by {}{reversed}, namespace *{}*", view.sort.name(), printable(namespace))
        }
    };
    let row = move |row: &Workload<'_>| {
        let id: String = row.id.chars().take(WORKLOAD).collect();
        let verdicts = &row.verdicts;
        let loud = if verdicts.deny.events > 0 {
            style.verdict("deny")
        } else if verdicts.audit.events > 0 {
            style.verdict("audit")
        } else {
            Look::new()
        };
        Row::new([
            cell(row.namespace),
            cell(&id),
            right(verdicts.deny.events),
            right(verdicts.audit.events),
            right(verdicts.allow.events),
            Line::raw(rate(verdicts.last_minute())).right_aligned(),
            Line::raw(moment(row.last_unix_ns, summary.now_unix_ns)),
            cell(short(row.image)),
        ])
        .style(loud)
    };
    let widths = [14, 12, 7, 7, 8, 6, 10].map(Constraint::Length);
    let headings = ["NAMESPACE", "WORKLOAD", ">x DENY", ">! AUDIT", ">. ALLOW", ">/S", "LAST", "IMAGE"];
    let nothing = if view.namespace.is_empty() { "no event in the window" } else { "no event of such a namespace" };
    PanelOf { name: "WORKLOADS", about, panel: Panel::Workloads, nothing }.table(
        &summary.workloads,
        row,
        (&headings, widths.into_iter().chain([Constraint::Fill(1)]).collect()),
        (view, area, style),
    )
}

pub(super) fn deviations(summary: &Summary<'_>, view: &View, area: Rect, style: Style) -> Titled {
    let is_wide = area.width >= WIDE;
    let row = move |row: &Deviation<'_>| {
        let mut cells = vec![
            right(row.count),
            Line::raw(moment(row.last_unix_ns, summary.now_unix_ns)),
            Line::styled(printable(&marked(row.verdict)), style.verdict(row.verdict)),
            cell(row.hook),
            cell(row.reason),
        ];
        cells.extend(is_wide.then(|| [cell(row.namespace), cell(row.package)]).into_iter().flatten());
        cells.push(cell(row.subject));
        Row::new(cells)
    };
    let mut headings = vec![">COUNT", "LAST", "VERDICT", "HOOK", "REASON"];
    let mut widths = [6, 10, 7, 9, 14].map(Constraint::Length).to_vec();
    if is_wide {
        headings.extend(["NAMESPACE", "PACKAGE"]);
        widths.extend([14, 18].map(Constraint::Length));
    }
    headings.push("WHAT");
    widths.push(Constraint::Fill(1));
    let about = match view.order {
        Order::Latest => "the latest first".to_owned(),
        Order::Count => "the most frequent first".to_owned(),
    };
    PanelOf { name: "DEVIATIONS", about, panel: Panel::Deviations, nothing: "none in the window" }.table(
        &summary.deviations,
        row,
        (&headings, widths),
        (view, area, style),
    )
}

pub(super) fn nodes(summary: &Summary<'_>, view: &View, area: Rect, style: Style) -> Titled {
    let is_narrow = area.width <= NODES;
    let row = move |row: &NodeRow<'_>| {
        let state = if row.is_silent { "- SILENT" } else { "+ heard" };
        let mut cells = vec![cell(&row.node.name), Line::raw(state), Line::raw(age(row.seconds_since)).right_aligned()];
        cells.extend([right(row.node.missing), right(row.lost)]);
        cells.extend(
            (!is_narrow).then(|| [right(row.node.last_sequence), cell(&row.node.agent_version)]).into_iter().flatten(),
        );
        Row::new(cells).style(if row.is_silent { style.alarm() } else { Look::new() })
    };
    let mut headings = vec!["NODE", "STATE", ">SEEN", ">MISSING", ">LOST"];
    let mut widths = vec![Constraint::Fill(1)];
    widths.extend([8, 5, 7, 6].map(Constraint::Length));
    if !is_narrow {
        headings.extend([">LAST NO.", "AGENT"]);
        widths.extend([10, 10].map(Constraint::Length));
    }
    let about = "heard of last first".to_owned();
    PanelOf { name: "NODES", about, panel: Panel::Nodes, nothing: "no node has sent anything yet" }.table(
        &summary.nodes,
        row,
        (&headings, widths),
        (view, area, style),
    )
}

/// A title with rows below it.
struct PanelOf {
    name: &'static str,
    about: String,
    panel: Panel,
    /// What stands there without rows.
    nothing: &'static str,
}

impl PanelOf {
    fn table<T>(
        self,
        rows: &[T],
        row: impl Fn(&T) -> Row<'static>,
        (headings, widths): (&[&'static str], Vec<Constraint>),
        (view, area, style): (&View, Rect, Style),
    ) -> Titled {
        let room = usize::from(area.height.saturating_sub(FRAME));
        let passed = view.passed(self.panel).min(rows.len().saturating_sub(1));
        let last = passed.saturating_add(room).min(rows.len());
        let name = self.name;
        let title = match rows.len() {
            0 => format!("{name}  {}", self.nothing),
            all if passed == 0 && last == all => format!("{name}  {all}, {}", self.about),
            all => format!("{name}  {} to {last} of {all}, {}", passed + 1, self.about),
        };
        let title = Line::styled(title, style.title(view.panel == self.panel));
        let headings = headings.iter().map(|heading| match heading.strip_prefix('>') {
            Some(heading) => Line::raw(heading).right_aligned(),
            None => Line::raw(*heading),
        });
        let heading = Row::new(headings).style(style.heading());
        let shown: Vec<_> = rows.iter().skip(passed).take(room).map(row).collect();
        let table = Table::new(shown, widths).header(heading).column_spacing(1);
        Titled { title, table }
    }
}

pub(super) struct Titled {
    title: Line<'static>,
    table: Table<'static>,
}

impl Widget for Titled {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [top, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        self.title.render(top, buffer);
        Widget::render(self.table, rest, buffer);
    }
}

/// An image without its registry and path, which are much the same for all.
fn short(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

/// Text that others have chosen, unable to reach beyond its cell.
fn cell(text: &str) -> Line<'static> {
    Line::raw(if text.is_empty() { "-".to_owned() } else { printable(text) })
}

fn right(number: u64) -> Line<'static> {
    Line::raw(number.to_string()).right_aligned()
}

/// The time of day for today, else the day.
fn moment(unix_ns: u64, now_unix_ns: u64) -> String {
    let (then, now) = (time::display(unix_ns), time::display(now_unix_ns));
    let day = |text: &str| text.chars().take(10).collect::<String>();
    if day(&then) == day(&now) { then.chars().skip(11).take(8).collect() } else { day(&then) }
}

/// How long ago, in one unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6000 => format!("{}m", seconds / 60),
        6000..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
