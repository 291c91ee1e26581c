//! Clients of the ledger: what they send, to whom, and what they send again because it is not final yet.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;

use crate::sim::rng::Rng;
use crate::types::chain::ChainId;
use crate::types::{Domain, Hash, NodeId, Tokens};
use crate::wire::kind::Blob;
use crate::wire::kind::governance::VoteChoice;
use crate::wire::ledger::{Action, Body, Order, Sealed, Transaction};

/// Accounts that clients hold.
pub const ACCOUNTS: usize = 6;
/// More than any body costs at the prices of these networks.
const FEE: Tokens = Tokens(5_000);
/// Seals of one account that are not final, at most.
const OPEN: usize = 4;

struct Account {
    key: SigningKey,
    id: NodeId,
    next: u64,
    open: VecDeque<Sealed>,
}

/// Everyone who sends transactions.
pub struct Clients {
    chain: ChainId,
    accounts: Vec<Account>,
    /// Who can be delegated to.
    validators: Vec<NodeId>,
}

/// The key of a client's account.
pub fn key(seed: u64, n: usize) -> SigningKey {
    let digest = Domain::Trace.hash(&[b"account", &seed.to_be_bytes(), &(n as u64).to_be_bytes()]);
    SigningKey::from_bytes(digest.as_bytes())
}

impl Clients {
    /// Clients of these accounts, none of which has sent anything.
    pub fn new(chain: ChainId, keys: impl Iterator<Item = SigningKey>, validators: Vec<NodeId>) -> Clients {
        let account = |key: SigningKey| {
            let id = NodeId(key.verifying_key().to_bytes());
            Account { key, id, next: 0, open: VecDeque::new() }
        };
        Clients { chain, accounts: keys.map(account).collect(), validators }
    }

    /// What someone sends now: something new, maybe together with something else in its place for another node, or
    /// again what is not final.
    pub fn send(&mut self, fresh: bool, nonce: impl Fn(NodeId) -> u64, rng: &mut Rng) -> Vec<Sealed> {
        let index = rng.below(self.accounts.len());
        let ids: Vec<NodeId> = self.accounts.iter().map(|account| account.id).collect();
        let Some(account) = self.accounts.get_mut(index) else { return Vec::new() };
        let decided = nonce(account.id);
        while account.open.front().is_some_and(|sealed| sealed.next_nonce() <= decided) {
            account.open.pop_front();
        }
        if account.open.len() >= OPEN || !fresh || !account.open.is_empty() && rng.chance(400) {
            return account.open.front().cloned().into_iter().collect();
        }
        let twice = rng.chance(100);
        let count = if twice { 1 } else { rng.pick(&[1, 1, 1, 2, 3, 20]).unwrap_or(1) };
        let seal = |rng: &mut Rng| {
            let one = |_| Transaction { fee: FEE, body: body(&ids, &self.validators, rng) };
            let transactions = (0..count).map(one).collect();
            Order { chain: self.chain, account: account.id, nonce: account.next, transactions }.seal(&account.key).ok()
        };
        let sent: Vec<Sealed> = (0..1 + usize::from(twice)).filter_map(|_| seal(rng)).collect();
        if let Some(first) = sent.first() {
            account.next = first.next_nonce();
            account.open.push_back(first.clone());
        }
        sent
    }

    /// Whether everything sent is final, or what was sent in its place is.
    pub fn is_served(&self, nonce: impl Fn(NodeId) -> u64) -> bool {
        self.accounts.iter().all(|account| nonce(account.id) >= account.next)
    }

    /// A node's own key stakes, so that it validates from an epoch on.
    pub fn stake(&self, key: &SigningKey, amount: Tokens) -> Option<Sealed> {
        let account = NodeId(key.verifying_key().to_bytes());
        let transactions = vec![Transaction { fee: FEE, body: Body::Stake { amount } }];
        Order { chain: self.chain, account, nonce: 0, transactions }.seal(key).ok()
    }
}

/// One transaction. Stakes stay small beside those of validators, so that no power moves that a proof rests on.
fn body(ids: &[NodeId], validators: &[NodeId], rng: &mut Rng) -> Body {
    let to = rng.pick(ids).unwrap_or(NodeId([0; 32]));
    let validator = rng.pick(validators).unwrap_or(to);
    let amount = Tokens(rng.within(1, 2_000));
    let name = rng.pick(&["a", "b", "c"]).unwrap_or("a").to_string();
    match rng.below(40) {
        0..=17 => Body::Transfer { to, amount, memo: None },
        18 | 19 => Body::Transfer { to, amount: Tokens(u64::MAX >> rng.within(2, 20)), memo: Some("too much".into()) },
        20 => Body::Burn { amount },
        21 => Body::Mint { to, amount },
        22..=24 => Body::Delegate { validator, amount: Tokens(rng.within(1, 60_000)) },
        25 | 26 => Body::Undelegate { validator, amount },
        27 => Body::PayGas { to, amount },
        28 | 29 => {
            let size = rng.below(60);
            Body::Store { name, value: Blob(rng.bytes(size)), epochs: rng.within(1, 4) as u32 }
        }
        30 => Body::PayRent { owner: to, name, epochs: 1 },
        31 => Body::Erase { name },
        32 => Body::OpenBilling { provider: to, service: "light".into(), amount, every: 1, payments: 3 },
        33 => Body::CloseBilling { billing: rng.within(0, 5) },
        34 => Body::FundTreasury { amount },
        35 => Body::Work { epoch: rng.within(0, 8), solution: rng.within(0, 400) },
        36 => Body::Propose { title: "a title".into(), action: action(to, rng), deposit: Tokens(500) },
        _ => {
            let choice = rng.pick(&[VoteChoice::Yes, VoteChoice::Yes, VoteChoice::No]).unwrap_or(VoteChoice::Yes);
            Body::Vote { proposal: rng.within(0, 4), choice }
        }
    }
}

/// What changes neither prices nor validators.
fn action(to: NodeId, rng: &mut Rng) -> Action {
    match rng.below(4) {
        0 => Action::Declare { statement: "so it is".into() },
        1 => Action::Spend { to, amount: Tokens(rng.within(1, 5_000)) },
        2 => Action::Mint { to, amount: Tokens(rng.within(1, 5_000)) },
        _ => Action::AdoptPolicy { policy_id: "p".into(), version: rng.within(1, 4) as u32, digest: Hash([3; 32]) },
    }
}
