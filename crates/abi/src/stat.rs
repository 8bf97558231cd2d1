//! Exact per-CPU counters kept by the kernel programs.

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Index of a counter in the `STATS` map.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stat { $($(#[$doc])* $name,)* }

        impl Stat {
            /// Every counter, in index order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The counter's name in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

stats! {
    /// Executions checked in a workload.
    ExecChecked = "exec_checked",
    /// Executions denied.
    ExecDenied = "exec_denied",
    /// Executions that enforcement would have denied.
    ExecAudited = "exec_audited",
    /// Executable file mappings checked in a workload.
    MapChecked = "map_checked",
    /// Executable mappings denied, anonymous ones included.
    MapDenied = "map_denied",
    /// Executable mappings that enforcement would have denied.
    MapAudited = "map_audited",
    /// Changes to executable protection checked in a workload.
    ProtectChecked = "protect_checked",
    /// Changes to executable protection denied.
    ProtectDenied = "protect_denied",
    /// Changes to executable protection that enforcement would have denied.
    ProtectAudited = "protect_audited",
    /// Denials and audits that found the ring full, or that are among the peers unreported.
    DenialsLost = "denials_lost",
    /// Telemetry events that found the ring full.
    TelemetryLost = "telemetry_lost",
    /// Forks refused because the task could not be labelled.
    ForkRefused = "fork_refused",
    /// First checks of a task that could not be labelled; a deviation, whatever the file.
    LabelFailed = "label_failed",
    /// Labels whose slot has no active workload; denied.
    StaleLabel = "stale_label",
    /// Checks passed because the task is still the container runtime, outside the workload's mount namespace.
    RuntimeTask = "runtime_task",
    /// Child cgroups that could not be entered in the table; their tasks keep their inherited labels.
    CgroupFailed = "cgroup_failed",
    /// File operations checked against file rules, scripts included.
    FileChecked = "file_checked",
    /// File operations denied.
    FileDenied = "file_denied",
    /// File operations that enforcement would have denied.
    FileAudited = "file_audited",
    /// Network operations checked.
    NetworkChecked = "network_checked",
    /// Network operations denied.
    NetworkDenied = "network_denied",
    /// Network operations that enforcement would have denied.
    NetworkAudited = "network_audited",
    /// Operations checked that hardening may forbid, uses of capabilities included.
    OperationChecked = "operation_checked",
    /// Such operations denied.
    OperationDenied = "operation_denied",
    /// Such operations that enforcement would have denied.
    OperationAudited = "operation_audited",
    /// Attempts of workloads on Plimsoll itself; denied whatever the mode.
    TamperDenied = "tamper_denied",
    /// Denied or audited connections from outside that left no event, since a peer sent too many of them.
    PeersUnreported = "peers_unreported",
    /// Code injections checked: tracing, and writing to memory through a file.
    InjectChecked = "inject_checked",
    /// Code injections denied.
    InjectDenied = "inject_denied",
    /// Code injections that enforcement would have denied.
    InjectAudited = "inject_audited",
    /// Addresses of names in rules that resolvers' answers gave.
    AddressLearnt = "address_learnt",
    /// Answers of resolvers to workloads with names in rules that could not be read to their end: what was not read is denied.
    AnswerUnreadable = "answer_unreadable",
    /// Tasks that were to be killed, since their hook cannot refuse, and could not be: what they began went ahead.
    KillFailed = "kill_failed",
}

/// Number of counters; the `STATS` map has this many entries.
#[expect(clippy::cast_possible_truncation, reason = "a handful of counters")]
pub const STAT_COUNT: u32 = Stat::ALL.len() as u32;
