//! A terminal of tmux, with a server of its own.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use tokio::time::{interval, timeout};

use crate::PATIENCE;

/// Ends with the test, and the program in it too.
pub(crate) struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    /// Starts `plimsoll` in a terminal of this size. Its exit status is written to a file.
    pub(crate) fn start(columns: u16, rows: u16, arguments: &[&str]) -> Self {
        let terminal = Self { directory: tempfile::tempdir().unwrap() };
        let program = env!("CARGO_BIN_EXE_plimsoll");
        let words: Vec<_> = [&[program], arguments].concat().iter().map(|word| format!("'{word}'")).collect();
        let line = format!("{}; echo $? > '{}'", words.join(" "), terminal.status_file().display());
        let (columns, rows) = (columns.to_string(), rows.to_string());
        // Without the person's own configuration, and with a terminal that has characters beyond ASCII.
        terminal.tmux(&["-f", "/dev/null", "-u", "new-session", "-d", "-x", &columns, "-y", &rows, &line]);
        terminal
    }

    fn status_file(&self) -> PathBuf {
        self.directory.path().join("status")
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.directory.path().join("socket")).args(arguments).env_remove("TMUX");
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.output().expect("tmux is not installed; `cargo xtask setup` installs it")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Presses keys, by their names in tmux.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// The screen, once it has this text.
    pub(crate) async fn wait(&self, text: &str) -> String {
        let mut last = String::new();
        let found = timeout(PATIENCE, async {
            let mut looks = interval(Duration::from_millis(50));
            loop {
                looks.tick().await;
                last = self.tmux(&["capture-pane", "-p"]);
                if last.contains(text) {
                    return last.clone();
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_elapsed| panic!("`{text}` did not appear:\n{last}"))
    }

    /// The program's exit status, once it has ended.
    pub(crate) async fn status(&self) -> i32 {
        let ended = timeout(PATIENCE, async {
            let mut looks = interval(Duration::from_millis(50));
            loop {
                looks.tick().await;
                let status = std::fs::read_to_string(self.status_file()).unwrap_or_default();
                if let Some(status) = status.strip_suffix('\n') {
                    return status.parse().unwrap();
                }
            }
        });
        ended.await.expect("the program did not end")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server is gone already if its only program has ended.
        drop(self.output(&["kill-server"]));
    }
}
