//! Where the API server is, and how to talk to it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// How long a connection may take. Requests have no end of their own, since a watch is one; [`crate::follow`] has.
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no client. It says nothing about whether the API server answers.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot use the kubeconfig `{path}`")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: KubeconfigError,
    },
    #[error("this is no pod with a service account; name a `kubeconfig`")]
    InCluster(#[from] InClusterError),
    #[error("cannot make a client of the API server")]
    Client(#[source] kube::Error),
}

/// Makes a client by a kubeconfig, or by a pod's service account. Does not connect yet.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        None => Config::incluster()?,
        Some(path) => {
            let failed = |source| ConnectError::Kubeconfig { path: path.to_owned(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?
        }
    };
    config.connect_timeout = Some(CONNECT);
    // What is tried again, and when, is for the watch to say: it counts from the first failure.
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}
