//! Somebody with a kubeconfig and the rights that a cluster's administrator gives people, who uses the real
//! `kubectl-sconce`.

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::room::Room;
use crate::wait::until;
use crate::{Error, Result, access, binaries, world};

/// Who may do in one namespace what one of the cluster's roles allows.
pub struct Person {
    kubeconfig: PathBuf,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Person {
    /// Somebody with the cluster's role `view`, `edit` or `admin` in the room's namespace, once the chart's roles are
    /// part of it.
    ///
    /// # Errors
    /// When the role cannot be given.
    pub async fn with_role(room: &Room, role: &str) -> Result<Self> {
        let user = format!("{role}er-of-{}", room.namespace);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        room.apply(binding).await?;
        Self::named(room, &user).await
    }

    /// Somebody with the cluster's role `view` everywhere.
    ///
    /// # Errors
    /// When the role cannot be given.
    pub async fn who_sees_everything(room: &Room) -> Result<Self> {
        let user = format!("auditor-of-{}", room.namespace);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        world::apply(&room.client, binding).await?;
        Self::named(room, &user).await
    }

    async fn named(room: &Room, user: &str) -> Result<Self> {
        let kubeconfig = access::kubeconfig_as(room.world.kubeconfig(), user, &room.namespace)?;
        let reviews: Api<SelfSubjectAccessReview> = Api::all(access::client(&kubeconfig).await?);
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(room.namespace.clone()),
                    verb: Some("list".to_owned()),
                    group: Some("sconce.dev".to_owned()),
                    resource: Some("modeltrainings".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        // A controller adds the chart's rules to the cluster's roles a moment after they appear.
        until(&format!("{user} may list trainings"), async || {
            let answer = reviews.create(&PostParams::default(), &review).await.ok()?;
            answer.status?.allowed.then_some(())
        })
        .await?;
        Ok(Self { kubeconfig })
    }

    /// Runs `kubectl-sconce` as this person; beside this test, as it may talk to a stand-in of the test's own.
    ///
    /// # Errors
    /// When the program is not there.
    pub async fn sconce(&self, arguments: &[&str]) -> Result<Ended> {
        run(&self.kubeconfig, arguments).await
    }
}

/// Runs `kubectl-sconce` with that kubeconfig.
///
/// # Errors
/// When the program is not there.
pub async fn run(kubeconfig: &Path, arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new(binaries::path("kubectl-sconce")?);
    command
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("COLUMNS", "100");
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = match output {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(Error::Unmet(format!("kubectl-sconce does not start: {source}"))),
        Err(error) => return Err(Error::Unmet(error.to_string())),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    })
}
