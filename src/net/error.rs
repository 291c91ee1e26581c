//! Why the network cannot start.

/// Why the network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("`{address}` is not a multiaddress: write it like /ip4/192.0.2.1/tcp/7700")]
    Address { address: String },
    #[error(
        "cannot listen on {address}: {cause}; is another node using the port? Change net.listen, or stop that node"
    )]
    Listen { address: String, cause: String },
    #[error("the gossip settings do not fit together: {0}")]
    Settings(String),
    #[error("the transport cannot be set up: {0}")]
    Transport(String),
}
