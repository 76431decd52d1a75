//! Pods on several nodes: the bridge plugin joins the pods of one node, a route to each other
//! node's range joins the nodes.

use std::process::Command;

use crate::Result;
use crate::kind::Kind;
use crate::process;

struct Node {
    name: String,
    address: String,
    pods: String,
}

/// Gives each node its own range of pod addresses, and a route to every other node's.
pub(crate) fn join_nodes(kind: &Kind) -> Result<()> {
    let nodes = nodes(kind)?;
    for node in &nodes {
        let script = format!(
            "sed -i 's#10.244.[0-9]*.0/24#{}#' /etc/cni/net.d/10-bridge.conflist",
            node.pods
        );
        process::output(&mut on(kind, node, &script))?;
        for other in nodes.iter().filter(|other| other.name != node.name) {
            let script = format!("ip route replace {} via {}", other.pods, other.address);
            process::output(&mut on(kind, node, &script))?;
        }
    }
    Ok(())
}

fn nodes(kind: &Kind) -> Result<Vec<Node>> {
    let fields = r#"{range .items[*]}{.metadata.name} {.status.addresses[?(@.type=="InternalIP")].address} {.spec.podCIDR}{"\n"}{end}"#;
    let listed = process::output(kind.command("kubectl")?.args([
        "get",
        "nodes",
        "-o",
        &format!("jsonpath={fields}"),
    ]))?;
    Ok(parse(&listed))
}

fn parse(listed: &str) -> Vec<Node> {
    let node = |line: &str| {
        let mut fields = line.split_whitespace().map(str::to_owned);
        Some(Node {
            name: fields.next()?,
            address: fields.next()?,
            pods: fields.next()?,
        })
    };
    listed.lines().filter_map(node).collect()
}

fn on(kind: &Kind, node: &Node, script: &str) -> Command {
    let mut command = kind.docker().command("docker");
    command.args(["exec", &node.name, "sh", "-c", script]);
    command
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_node_without_a_range_is_left_out() {
        let nodes = super::parse("a 172.18.0.2 10.244.0.0/24\nb 172.18.0.3 \n");
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].pods, "10.244.0.0/24");
    }
}
