//! An address that leads nowhere until it is opened, so that no port has to be free twice.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Door {
    pub(crate) url: String,
    leads_to: watch::Sender<Option<SocketAddr>>,
    serving: JoinHandle<()>,
}

impl Door {
    /// Closes every connection at once.
    pub(crate) async fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (leads_to, behind) = watch::channel(None);
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(behind) = *behind.borrow() else { continue };
                tokio::spawn(async move {
                    let mut other = TcpStream::connect(behind).await.unwrap();
                    // Either end may hang up at any time.
                    drop(copy_bidirectional(&mut stream, &mut other).await);
                });
            }
        });
        Self { url, leads_to, serving }
    }

    pub(crate) fn open(&self, to: SocketAddr) {
        self.leads_to.send_replace(Some(to));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
