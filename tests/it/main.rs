//! Tests from outside: the house's rules, processes, files.

mod tidy;
