//! `plimsoll-agent`: runs on every node, and is the hook that introduces containers to itself.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use plimsoll_agent::{
    app,
    config::{Capacity, Config},
    enforcer::Enforcer,
    sensor::{
        Sensor, canary,
        guard::{self, Absence},
        preflight,
    },
    workload::{
        hook::{self, Answer, Stage},
        parser,
    },
};

/// Lets containers run what their image's SBOM lists, and nothing else.
#[derive(Parser)]
#[command(name = "plimsoll-agent", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent. SIGHUP reloads the policies, SIGTERM stops it; enforcement goes on either way.
    Run {
        /// Configuration in YAML; without it every setting has its default.
        #[arg(long, default_value = "/etc/plimsoll/agent.yaml")]
        config: PathBuf,
    },
    /// Be an OCI hook: tell the agent of the container whose state is on standard input, and wait for its answer.
    ///
    /// Exit status 0 lets the container start. Anything else, an unreachable agent included, keeps it from starting.
    RunHook {
        /// The agent's socket.
        #[arg(long, default_value = "/run/plimsoll/agent.sock")]
        socket: PathBuf,
        /// The moment in the container's life.
        #[arg(long, value_enum, default_value = "create-runtime")]
        stage: Stage,
        /// Seconds to wait: for an agent that is away, as during its upgrade, and for its answer; reading a large image for the
        /// first time takes some.
        #[arg(long, default_value_t = 90)]
        timeout: u64,
    },
    /// Check whether this node can enforce, a real denial included. Exit status 0 if it can, 1 if not.
    Preflight {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
        /// The cgroup v2 hierarchy.
        #[arg(long, default_value = "/sys/fs/cgroup")]
        cgroups: PathBuf,
        /// Directory on a bpf filesystem, used for the duration of the check.
        #[arg(long, default_value = "/sys/fs/bpf/plimsoll-preflight")]
        pins: PathBuf,
    },
    #[command(name = canary::ARGUMENT, hide = true)]
    CanaryExit,
    /// Parse SBOMs for the agent that started this, without being able to do anything else.
    #[command(name = parser::ARGUMENT, hide = true)]
    SbomParser {
        /// Show what a parser cannot do instead: each attempt, its end without confinement, and its end with it.
        #[arg(long)]
        prove: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::RunHook { socket, stage, timeout } => run_hook(&socket, stage, Duration::from_secs(timeout)),
        Command::Preflight { json, cgroups, pins } => run_preflight(json, &cgroups, &pins),
        Command::CanaryExit => Ok(ExitCode::SUCCESS),
        Command::SbomParser { prove: false } => parser::child::run().map(|()| ExitCode::SUCCESS),
        Command::SbomParser { prove: true } => prove_parser(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("plimsoll-agent: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    let config = Config::read(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(app::run(config))?;
    Ok(ExitCode::SUCCESS)
}

fn run_hook(socket: &Path, stage: Stage, timeout: Duration) -> anyhow::Result<ExitCode> {
    match hook::ask(socket, stage, timeout, io::stdin().lock())? {
        Answer::Proceed(_) => Ok(ExitCode::SUCCESS),
        Answer::Refuse(why) => anyhow::bail!("this container may not start: {why}"),
    }
}

fn run_preflight(json: bool, cgroups: &Path, pins: &Path) -> anyhow::Result<ExitCode> {
    let mut checks = preflight::checks(cgroups, pins);
    if checks.iter().all(preflight::Check::is_passed) {
        checks.push(prove(cgroups, pins));
    }
    checks.push(presence(&Config::default().pins));
    let mut out = io::stdout().lock();
    for check in &checks {
        if json {
            writeln!(out, "{}", serde_json::to_string(check)?)?;
        } else {
            writeln!(out, "{check}")?;
        }
    }
    Ok(if checks.iter().all(preflight::Check::is_passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether an agent is there. Without one the node still enforces, so that this check never fails.
fn presence(pins: &Path) -> preflight::Check {
    const NAME: &str = "agent";
    preflight::Check::passed(
        NAME,
        match guard::absence(pins) {
            Ok(Some(Absence { seconds, denials, lost })) => format!(
                "its last sign of life is {seconds} s old; the kernel has counted {denials} denials since, {lost} of them unreported"
            ),
            Ok(None) => "none has run since this machine started".to_owned(),
            Err(error) => format!("nothing is known of one: {error:#}"),
        },
    )
}

/// Exit status 0 if every attempt that otherwise succeeds is denied to a parser.
fn prove_parser() -> anyhow::Result<ExitCode> {
    let mut confined = true;
    for (attempt, before, after) in parser::child::prove()? {
        println!("{attempt:<24} {before:<8} {after}");
        confined &= before == "done" && after != "done";
    }
    Ok(if confined { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads everything beside a running agent's programs, has a canary denied, and removes every trace.
fn prove(cgroups: &Path, pins: &Path) -> preflight::Check {
    const NAME: &str = "denial";
    let outcome = deny_canary(cgroups, pins);
    let removed = std::fs::remove_dir_all(pins);
    match (outcome, removed) {
        (Ok(()), Ok(())) => preflight::Check::passed(NAME, "a canary ran without a policy and was denied with one"),
        (Err(error), _) => preflight::Check::failed(
            NAME,
            format!("{error:#}"),
            "the kernel log (`dmesg`) may say more; report it with this line",
        ),
        (Ok(()), Err(error)) => {
            preflight::Check::failed(NAME, format!("cannot clean up: {error}"), format!("remove `{}`", pins.display()))
        }
    }
}

fn deny_canary(cgroups: &Path, pins: &Path) -> anyhow::Result<()> {
    let Sensor { hooks, mut maps, guard: _guard } = Sensor::start(pins, cgroups, &Capacity::default())?;
    let mut enforcer = Enforcer::new(hooks, maps.policy, false)?;
    canary::prove(&mut enforcer, &mut maps.denials, cgroups, &mut Vec::new())?;
    Ok(())
}
