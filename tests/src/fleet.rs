//! Pods of the ModelDeployment `iris` that answer, and tell the load that a test gives them.

use kube::ResourceExt;

use crate::Result;
use crate::room::Room;
use crate::server::FakeServer;
use crate::wait::until;

/// They carry this label.
pub const PODS: &str = "sconce.dev/deployment=iris";

/// Pods that answer, and what tells their load.
pub struct Fleet<'a> {
    room: &'a Room,
    /// Each pod's name, and who answers for it.
    pub servers: Vec<(String, FakeServer)>,
}

impl<'a> Fleet<'a> {
    /// None yet of the revision that the room is to have.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn of(room: &'a Room) -> Result<Fleet<'a>> {
        room.revision("iris", None).await?;
        Ok(Fleet {
            room,
            servers: Vec::new(),
        })
    }

    /// Lets all pods answer, once there are so many.
    ///
    /// # Errors
    /// When there are not so many in time.
    pub async fn grows_to(&mut self, count: usize) -> Result<()> {
        for pod in self.room.kubelet.active(PODS, count).await? {
            let name = pod.name_any();
            if !self.servers.iter().any(|(known, _)| *known == name) {
                self.joins(&name).await?;
            }
        }
        Ok(())
    }

    /// Lets this pod answer as well.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn joins(&mut self, pod: &str) -> Result<()> {
        let server = FakeServer::start().await?;
        self.room.kubelet.takes(pod).await?;
        self.room.kubelet.runs(pod, server.address(), true).await?;
        self.servers.push((pod.to_owned(), server));
        Ok(())
    }

    /// So many requests are with each, in order. Where one passes requests on to another, the operator sees them leave
    /// before it sees them come: it asks one after the other, and would else count them twice.
    ///
    /// # Errors
    /// When those that have fewer are not asked in time.
    pub async fn have(&self, requests: &[u64]) -> Result<()> {
        let asked = || {
            self.servers
                .iter()
                .zip(requests)
                .map(|((_, server), &requests)| (server, requests))
        };
        let fewer: Vec<_> = asked()
            .filter(|(server, requests)| server.load() > *requests)
            .collect();
        let any_more = asked().any(|(server, requests)| server.load() < requests);
        for (server, requests) in &fewer {
            server.has(*requests);
            let before = server.asked();
            if any_more {
                until("whoever has fewer is asked", async || {
                    (server.asked() > before).then_some(())
                })
                .await?;
            }
        }
        asked().for_each(|(server, requests)| server.has(requests));
        Ok(())
    }
}
