use crate::{config::Config, event::Decoded, workload::Workload};
pub struct Export;
impl Export {
    pub fn start(_: &Config, _: tokio::sync::watch::Receiver<()>) -> anyhow::Result<Self> { Ok(Self) }
    pub fn metrics(&self) -> Option<Box<dyn prometheus_client::collector::Collector>> { None }
    pub fn submit(&mut self, e: &Decoded, w: Option<&Workload>) {
        let f = w.and_then(|w| w.image.file(plimsoll_sbom::InodeKey{dev:e.raw.dev, ino:e.raw.ino}));
        tracing::info!(seq=e.raw.sequence, hook=e.hook.name(), verdict=e.verdict.name(), reason=e.reason.name(), path=%String::from_utf8_lossy(e.path()), comm=%crate::event::comm(&e.raw.comm), pkg=?f.and_then(|f| f.package.as_ref()).map(|p| &p.name), ino=e.raw.ino, dev=e.raw.dev, flags=e.raw.flags, parent=%crate::event::comm(&e.raw.ancestors[0].comm), "event");
    }
    pub async fn finish(&mut self) {}
}
