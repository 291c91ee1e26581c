//! What a node of each type does: which topics it follows, which services it offers, what it may send.

use std::collections::BTreeSet;

use crate::wire::Category;
use crate::wire::kind::system::NodeType;

/// What a node does. System and Security are everyone's: without them nobody knows who is there and who lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The topics whose feeds it takes, keeps and passes on.
    pub follows: BTreeSet<Category>,
    /// What others may ask of it, by name.
    pub services: Vec<String>,
    /// The topics its clients may publish on.
    pub sends: BTreeSet<Category>,
}

impl Default for Role {
    /// Everything, and no service.
    fn default() -> Role {
        let all = BTreeSet::from(Category::ALL);
        Role { follows: all.clone(), services: Vec::new(), sends: all }
    }
}

impl Role {
    /// What a type stands for.
    pub fn of(node_type: NodeType) -> Role {
        use Category::{Consensus, Data, Economic, External, Governance, Monitoring};
        let all: &[Category] = &[Consensus, Economic, Data, Governance, Monitoring, External];
        let (follows, services, sends): (&[Category], &[&str], &[Category]) = match node_type {
            NodeType::Gateway => (all, &["gateway"], &[Economic, Data, Governance, Monitoring, External]),
            NodeType::Mempool => (&[Economic, Consensus, Governance], &["mempool"], &[Economic, Consensus]),
            NodeType::Consensus => {
                (&[Consensus, Economic, Governance, Data], &["consensus"], &[Consensus, Economic, Governance, Data])
            }
            NodeType::Oracle => (&[Data, External, Governance], &["oracle"], &[Data, External]),
            NodeType::Storage => (all, &["storage"], &[Data, Monitoring]),
            NodeType::Audit => (all, &["audit"], &[Governance, Monitoring]),
            NodeType::Proof => (&[Consensus, Economic, Data], &["proof"], &[Consensus, Data]),
            NodeType::BankApiRegistry => {
                (&[Economic, External, Governance], &["bank-api-registry"], &[Economic, External])
            }
            NodeType::GovernmentApiRegistry => {
                (&[External, Governance], &["government-api-registry"], &[External, Governance])
            }
            NodeType::ShadowRegistry => (all, &["shadow-registry"], &[Monitoring]),
            NodeType::Mining => (&[Consensus, Economic], &["mining"], &[Consensus, Economic]),
            NodeType::Validator => (all, &["validator"], all),
            NodeType::Notary => (&[Data, Governance], &["notary"], &[Data, Governance]),
            NodeType::BpciServer => (all, &["bpci"], &[Economic, Data, Governance, External]),
            NodeType::EnterpriseGateway => (
                &[Economic, Data, Governance, External],
                &["enterprise-gateway"],
                &[Economic, Data, Governance, External],
            ),
            NodeType::ComplianceNode => (all, &["compliance"], &[Governance, Monitoring]),
        };
        let with_everyones = |topics: &[Category]| topics.iter().copied().chain(EVERYONES).collect();
        Role {
            follows: with_everyones(follows),
            services: services.iter().map(|name| name.to_string()).collect(),
            sends: with_everyones(sends),
        }
    }
}

/// What every node follows and may send.
const EVERYONES: [Category; 2] = [Category::System, Category::Security];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_follows_what_it_sends_and_what_is_everyones() {
        for node_type in NodeType::ALL {
            let role = Role::of(node_type);
            assert!(role.sends.is_subset(&role.follows), "{node_type}");
            assert!(EVERYONES.iter().all(|topic| role.sends.contains(topic)), "{node_type}");
            assert!(!role.services.is_empty(), "{node_type} offers something");
        }
    }
}
