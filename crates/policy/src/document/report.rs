//! Collecting every problem of a document.

use super::source::{Source, Span};
use crate::diagnostic::{Diagnostic, Diagnostics};

/// Proof that a problem was reported; nothing else makes one, so a document cannot be given up silently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// The problems found so far.
pub(super) struct Report<'a> {
    source: &'a Source<'a>,
    found: Vec<Diagnostic>,
    omitted: usize,
    limit: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source<'a>, limit: usize) -> Self {
        Self { source, found: Vec::new(), omitted: 0, limit: limit.max(1) }
    }

    /// Adds a problem with a way out.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) -> Reported {
        if self.found.len() < self.limit {
            let place = self.source.place(span);
            self.found.push(Diagnostic { place, message: message.into(), help: Some(help.into()) });
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
        Reported(())
    }

    pub(super) fn source(&self) -> &'a Source<'a> {
        self.source
    }

    /// Ends the report: the outcome counts only if nothing was reported on the way to it.
    pub(super) fn finish<T>(self, outcome: Result<T, Reported>) -> Result<T, Diagnostics> {
        match outcome {
            Ok(value) if self.found.is_empty() => Ok(value),
            _ => Err(Diagnostics::new(self.found, self.omitted)),
        }
    }
}
