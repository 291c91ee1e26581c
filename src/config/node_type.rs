//! The types of node.

/// The 16 types of node, as a configuration names them.
pub const NODE_TYPES: [&str; 16] = [
    "Gateway",
    "Mempool",
    "Consensus",
    "Oracle",
    "Storage",
    "Audit",
    "Proof",
    "BankApiRegistry",
    "GovernmentApiRegistry",
    "ShadowRegistry",
    "Mining",
    "Validator",
    "Notary",
    "BpciServer",
    "EnterpriseGateway",
    "ComplianceNode",
];
