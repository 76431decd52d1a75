//! Where the files and ports of one control plane are, and the command line of each part.

use std::path::PathBuf;

use crate::Part;

/// The places of one control plane.
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) api_port: u16,
    pub(crate) etcd_client_port: u16,
    pub(crate) etcd_peer_port: u16,
    /// Whether somebody makes the namespaces' service accounts.
    pub(crate) controller_manager: bool,
    /// Whether each write is recorded ([`crate::audit`]).
    pub(crate) audited: bool,
    /// Whether Kubernetes' own controllers work as fast as they can.
    pub(crate) unthrottled: bool,
    /// Features of the API server that are off by default.
    pub(crate) feature_gates: Vec<&'static str>,
}

impl Layout {
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// The certificate that the API server makes for itself, with that of the authority behind it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("certs/apiserver.crt")
    }

    /// Its key; service accounts' tokens are signed with it too.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("certs/apiserver.key")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.json")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("administrator.kubeconfig")
    }

    /// The name of a part's program and what it is started with.
    pub(crate) fn command_line(&self, part: Part) -> (&'static str, Vec<String>) {
        match part {
            Part::Etcd => ("etcd", self.etcd()),
            Part::ApiServer => ("kube-apiserver", self.api_server()),
            Part::ControllerManager => ("kube-controller-manager", self.controller_manager()),
            Part::Scheduler => ("kube-scheduler", self.client_flags()),
        }
    }

    fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_client_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // The data is thrown away: it has to survive a crash of etcd, not of the machine.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        // It taints a new node until the node lifecycle controller finds it ready; that one is off.
        let mut disabled = "TaintNodesByCondition".to_owned();
        if !self.controller_manager {
            // Nobody makes a namespace's service account, and without one no pod is admitted.
            disabled.push_str(",ServiceAccount");
        }
        let mut flags = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_client_port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.api_port),
            format!("--cert-dir={}", self.folder.join("certs").display()),
            // The `kubernetes` service would have to point at a loopback address, which is refused.
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--token-auth-file={}", self.tokens().display()),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", self.key().display()),
            format!("--service-account-key-file={}", self.key().display()),
            "--allow-privileged=true".to_owned(),
            format!("--disable-admission-plugins={disabled}"),
        ];
        if !self.feature_gates.is_empty() {
            let on = self.feature_gates.iter().map(|gate| format!("{gate}=true"));
            flags.push(format!("--feature-gates={}", on.collect::<Vec<_>>().join(",")));
        }
        if self.audited {
            flags.extend([
                format!("--audit-policy-file={}", self.audit_policy().display()),
                format!("--audit-log-path={}", self.audit_log().display()),
                // A file that is begun anew loses what it held.
                "--audit-log-maxsize=100000".to_owned(),
            ]);
        }
        flags
    }

    fn controller_manager(&self) -> Vec<String> {
        let mut flags = self.client_flags();
        flags.extend([
            format!("--service-account-private-key-file={}", self.key().display()),
            format!("--root-ca-file={}", self.authority().display()),
            "--use-service-account-credentials=true".to_owned(),
            // A node that is only an object has no heartbeat: it would be called dead after 50 s.
            "--controllers=*,-node-lifecycle-controller".to_owned(),
        ]);
        if self.unthrottled {
            // The default is five of each at a time.
            let kinds = ["job", "deployment", "replicaset", "service-endpoint"];
            flags.extend(kinds.map(|kind| format!("--concurrent-{kind}-syncs=20")));
        }
        flags
    }

    /// A single instance needs no leader, and nobody asks it for its metrics.
    fn client_flags(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--kubeconfig={}", self.kubeconfig().display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        if self.unthrottled {
            // The defaults are 20 requests a second of each controller and 50 of the scheduler.
            flags.extend([
                "--kube-api-qps=1000".to_owned(),
                "--kube-api-burst=2000".to_owned(),
            ]);
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_admitted_without_a_controller_manager() {
        let layout = |controller_manager| Layout {
            folder: PathBuf::from("/f"),
            api_port: 1,
            etcd_client_port: 2,
            etcd_peer_port: 3,
            controller_manager,
            audited: false,
            unthrottled: false,
            feature_gates: vec!["ImageVolume"],
        };
        let admits = |layout: &Layout| {
            let (_, flags) = layout.command_line(Part::ApiServer);
            flags
                .iter()
                .any(|flag| flag.ends_with("TaintNodesByCondition,ServiceAccount"))
        };
        assert!(admits(&layout(false)) && !admits(&layout(true)));
        let (_, flags) = layout(false).command_line(Part::ApiServer);
        assert!(flags.contains(&"--feature-gates=ImageVolume=true".to_owned()));
    }
}
