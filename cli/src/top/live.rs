//! The screen that goes on: answers come from a thread that asks, keys from the terminal.

use std::{
    io,
    sync::mpsc::{TryRecvError, TrySendError, sync_channel},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};

use super::{
    draw::draw,
    fleet::Fleet,
    poll::Poll,
    style::Style,
    summary::Summary,
    view::{Action, View},
};

/// How long a key is waited for before answers are looked at; also how often ages grow on the screen.
const TICK: Duration = Duration::from_millis(250);

/// Draws until the person has seen enough.
pub(super) fn run(poll: Poll, fleet: Fleet, view: View, every: Duration) -> anyhow::Result<()> {
    // The terminal is put back on a panic too.
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on; `--once` prints text")?;
    let outcome = show(&mut terminal, poll, fleet, view, every);
    ratatui::try_restore().context("the terminal cannot be put back; `reset` does it")?;
    outcome
}

fn show(
    terminal: &mut DefaultTerminal,
    poll: Poll,
    mut fleet: Fleet,
    mut view: View,
    every: Duration,
) -> anyhow::Result<()> {
    let (sender, answers) = sync_channel(1);
    let (again, asked) = sync_channel(1);
    // It may be waiting for an answer when this returns; it ends with the process.
    thread::Builder::new().name("poll".to_owned()).spawn(move || poll.run(every, &sender, &asked))?;
    let style = Style::of_environment();
    let mut now = SystemTime::now();
    loop {
        if !view.is_paused {
            now = SystemTime::now();
            match answers.try_recv() {
                Ok(round) => fleet.take(round, now),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => anyhow::bail!("the thread that asks has failed"),
            }
        }
        let summary = Summary::of(&fleet, &view, now);
        view.stay_within([summary.workloads.len(), summary.deviations.len(), summary.nodes.len()]);
        terminal.draw(|frame| draw(&summary, &view, frame.area(), frame.buffer_mut(), style))?;
        if !event::poll(TICK)? {
            continue;
        }
        match key(&mut view)? {
            Action::Draw => {}
            Action::Quit => return Ok(()),
            Action::Ask => match again.try_send(()) {
                // It is asking already.
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => anyhow::bail!("the thread that asks has failed"),
            },
        }
    }
}

/// Reads what the terminal has: a key, a new size, or something else that only needs drawing.
fn key(view: &mut View) -> io::Result<Action> {
    match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Ok(view.key(key)),
        _ => Ok(Action::Draw),
    }
}
