//! Events that a collector has stored, read page by page as if they were a file.

use std::{
    io::{self, Write as _, pipe},
    thread,
    time::SystemTime,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::read::{Stored, read};
use crate::{
    collector::{Client, Parameters, Place},
    events::time,
};

#[derive(clap::Args)]
pub(super) struct FromCollector {
    /// Read the events from the collector that answers queries here.
    #[arg(id = "from_collector", long = "from-collector", value_name = "URL")]
    url: Option<String>,
    /// Only from this time on: an age such as `2h` or `7d`, RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = time::parse_now, requires = "from_collector")]
    since: Option<SystemTime>,
    /// Only before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse_now, requires = "from_collector")]
    until: Option<SystemTime>,
    /// Read at most so many events, the newest first; that there are more is said, and is exit status 3.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl FromCollector {
    /// Reads the events; the second value is whether there are older ones beyond the limit.
    pub(super) fn read(&self) -> anyhow::Result<(Stored, bool)> {
        let place = Place { collector: self.url.clone().context("name a collector, or a file with --events")? };
        let (reader, mut writer) = pipe().context("cannot make a pipe")?;
        let bar = ProgressBar::new(self.limit);
        bar.set_style(ProgressStyle::with_template("{pos} events read, {per_sec}")?);
        let (asked, stored) = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let outcome = Client::new(&place).events(&self.parameters(), self.limit, |events| {
                    for event in events {
                        writeln!(writer, "{event}")?;
                    }
                    bar.inc(events.len() as u64);
                    Ok(())
                });
                // The reader waits for the end.
                drop(writer);
                outcome
            });
            let stored = read(reader);
            (asking.join(), stored)
        });
        bar.finish_and_clear();
        // A reader that gave up is why the rest could not be handed over.
        let stored = stored.context("cannot read the collector's events")?;
        let is_cut = asked.map_err(|_panic| io::Error::other("the thread that asks the collector has failed"))??;
        Ok((stored, is_cut))
    }

    fn parameters(&self) -> Parameters {
        let times = [("since", self.since), ("until", self.until)];
        times.into_iter().filter_map(|(name, time)| Some((name, time::parameter(time?)))).collect()
    }
}
