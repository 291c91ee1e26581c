//! The API over a real node.
