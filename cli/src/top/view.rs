//! What the keys have chosen, and what each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Characters of a filter.
const INPUT: usize = 60;

/// How the fleet is looked at.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) order: Order,
    /// Only namespaces that contain this.
    pub(super) namespace: String,
    /// The filter before it is being typed, to go back to; some while it is.
    pub(super) before: Option<String>,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    pub(super) panel: Panel,
    /// Rows passed over, by panel.
    pub(super) passed: [usize; 3],
}

/// What workloads are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Denied,
    Audited,
    Allowed,
    Rate,
    Last,
    Name,
}

/// Which deviations come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Latest,
    Count,
}

/// The part of the screen that scrolls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Panel {
    #[default]
    Workloads,
    Deviations,
    Nodes,
}

/// What the caller has to do about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Draw,
    Ask,
    Quit,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Denied, Self::Audited, Self::Allowed, Self::Rate, Self::Last, Self::Name];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Audited => "audited",
            Self::Allowed => "allowed",
            Self::Rate => "rate",
            Self::Last => "last",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        let next = Self::ALL.into_iter().skip_while(|sort| *sort != self).nth(1);
        next.unwrap_or_default()
    }
}

impl Panel {
    fn next(self) -> Self {
        match self {
            Self::Workloads => Self::Deviations,
            Self::Deviations => Self::Nodes,
            Self::Nodes => Self::Workloads,
        }
    }
}

impl View {
    pub(super) fn new(namespace: String) -> Self {
        Self { namespace, ..Self::default() }
    }

    /// Rows passed over in a panel.
    pub(super) fn passed(&self, panel: Panel) -> usize {
        let [workloads, deviations, nodes] = self.passed;
        match panel {
            Panel::Workloads => workloads,
            Panel::Deviations => deviations,
            Panel::Nodes => nodes,
        }
    }

    /// Does what a key stands for.
    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Action::Quit } else { Action::Draw };
        }
        if self.before.is_some() {
            self.typed(key.code);
            return Action::Draw;
        }
        // Help lies over everything: the next key takes it away, and does nothing else but end.
        if self.shows_help && key.code != KeyCode::Char('q') {
            self.shows_help = false;
            return Action::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char(' ') => return Action::Ask,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('d') => {
                self.order = if self.order == Order::Latest { Order::Count } else { Order::Latest };
            }
            KeyCode::Char('n') => self.before = Some(self.namespace.clone()),
            KeyCode::Tab => self.panel = self.panel.next(),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::Home => self.scroll(isize::MIN),
            _ => {}
        }
        Action::Draw
    }

    /// A key while the filter is typed; it narrows at once.
    fn typed(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.before = None,
            KeyCode::Esc => self.namespace = self.before.take().unwrap_or_default(),
            KeyCode::Backspace => {
                self.namespace.pop();
            }
            KeyCode::Char(char) if self.namespace.chars().count() < INPUT => self.namespace.push(char),
            _ => {}
        }
        self.passed = [0; 3];
    }

    fn scroll(&mut self, rows: isize) {
        let [workloads, deviations, nodes] = &mut self.passed;
        let passed = match self.panel {
            Panel::Workloads => workloads,
            Panel::Deviations => deviations,
            Panel::Nodes => nodes,
        };
        *passed = passed.saturating_add_signed(rows);
    }

    /// Brings scrolling back to where there are rows: at least the last one stays in sight.
    pub(super) fn stay_within(&mut self, rows: [usize; 3]) {
        for (passed, rows) in self.passed.iter_mut().zip(rows) {
            *passed = (*passed).min(rows.saturating_sub(1));
        }
    }
}
