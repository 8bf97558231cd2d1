//! How verdicts look. A mark and a word say everything; colour only repeats it.

use ratatui::style::{Color, Modifier, Style as Look};

/// Okabe and Ito's colours, which people see apart whatever their eyes, as the nearest of a terminal's 256.
const VERMILION: Color = Color::Indexed(166);
const ORANGE: Color = Color::Indexed(214);
const GREEN: Color = Color::Indexed(36);
const BLUE: Color = Color::Indexed(74);

/// Whether colours are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    has_colours: bool,
}

impl Style {
    /// Without colours.
    pub(super) fn plain() -> Self {
        Self { has_colours: false }
    }

    /// As the environment asks for: <https://no-color.org>.
    pub(super) fn of_environment() -> Self {
        Self { has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    #[cfg(test)]
    pub(super) fn coloured() -> Self {
        Self { has_colours: true }
    }

    fn coloured_as(self, colour: Color) -> Look {
        if self.has_colours { Look::new().fg(colour) } else { Look::new() }
    }

    pub(super) fn verdict(self, verdict: &str) -> Look {
        match verdict {
            "allow" => self.coloured_as(GREEN),
            "audit" => self.coloured_as(ORANGE),
            _ => self.coloured_as(VERMILION).add_modifier(Modifier::BOLD),
        }
    }

    /// What needs somebody to look: a silent node, losses, an error.
    pub(super) fn alarm(self) -> Look {
        self.coloured_as(VERMILION).add_modifier(Modifier::BOLD)
    }

    pub(super) fn title(self, has_focus: bool) -> Look {
        let look = self.coloured_as(BLUE).add_modifier(Modifier::BOLD);
        if has_focus { look.add_modifier(Modifier::REVERSED) } else { look }
    }

    #[expect(clippy::unused_self, reason = "every look is asked for here")]
    pub(super) fn heading(self) -> Look {
        Look::new().add_modifier(Modifier::UNDERLINED)
    }
}

/// The mark and the word of a verdict.
pub(super) fn marked(verdict: &str) -> String {
    let mark = match verdict {
        "allow" => '.',
        "audit" => '!',
        _ => 'x',
    };
    format!("{mark} {verdict}")
}
