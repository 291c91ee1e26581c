//! How a chain begins. Its id is the digest of this, so nodes that begin otherwise are on another chain.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::params::Params;
use super::rows::{Account, Delegation, Pool, Seats, Standing, Totals};
use super::state::State;
use crate::types::chain::{ChainId, Validator, ValidatorSet};
use crate::types::{Domain, NodeId, Tokens, WallMs};
use crate::wire::ledger::binary;

/// Accounts and validators of a genesis, at most.
pub const ACCOUNTS: usize = 100_000;
/// A genesis as text, bytes.
pub const TEXT_BYTES: usize = 32 << 20;

/// The token of a chain, as people see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its symbol: 1 to 12 of `A-Z` and `0-9`.
    pub symbol: String,
    /// Digits after the point that base units stand for, at most 18.
    pub decimals: u8,
}

/// An account that has tokens from the beginning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Its key.
    pub id: NodeId,
    /// What it can spend.
    pub balance: Tokens,
}

/// A validator of the first block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its key.
    pub id: NodeId,
    /// What it has staked on itself.
    pub stake: Tokens,
    /// What it keeps of its stakers' rewards, thousandths.
    #[serde(default)]
    pub commission_permille: u16,
}

/// How a chain begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Its name, for people: 1 to 32 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// When.
    pub time_ms: WallMs,
    /// What the treasury has.
    #[serde(default)]
    pub treasury: Tokens,
    /// The token.
    pub token: Token,
    /// The rules that are numbers.
    #[serde(default)]
    pub params: Params,
    /// Who validates.
    pub validators: Vec<GenesisValidator>,
    /// Who has tokens.
    #[serde(default)]
    pub accounts: Vec<GenesisAccount>,
}

/// Why a text is no genesis.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GenesisError {
    #[error("a genesis of {0} bytes; at most {TEXT_BYTES} are read")]
    TooLarge(usize),
    #[error("not a genesis: {0}")]
    Syntax(String),
    #[error("this genesis cannot begin a chain:\n  {}", .0.join("\n  "))]
    Faults(Vec<String>),
}

impl Genesis {
    /// Reads TOML, or JSON when it begins with `{`, and checks everything.
    pub fn from_text(text: &str) -> Result<Genesis, GenesisError> {
        if text.len() > TEXT_BYTES {
            return Err(GenesisError::TooLarge(text.len()));
        }
        let syntax = |error: String| GenesisError::Syntax(error.trim_end().to_string());
        let genesis: Genesis = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| syntax(e.to_string()))?
        } else {
            toml::from_str(text).map_err(|e| syntax(e.to_string()))?
        };
        genesis.checked()
    }

    /// The genesis in its order: by id, so that files that say the same in another order begin one chain.
    pub fn checked(mut self) -> Result<Genesis, GenesisError> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(GenesisError::Faults(faults));
        }
        self.validators.sort_by_key(|validator| validator.id);
        self.accounts.sort_by_key(|account| account.id);
        Ok(self)
    }

    /// As TOML, which [`Genesis::from_text`] reads.
    pub fn to_toml(&self) -> Result<String, GenesisError> {
        toml::to_string_pretty(self).map_err(|e| GenesisError::Syntax(e.to_string()))
    }

    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        ChainId(Domain::Chain.hash(&[&binary(self)]))
    }

    /// All tokens at the beginning; none when they do not add up.
    pub fn supply(&self) -> Option<Tokens> {
        let balances = self.accounts.iter().map(|account| account.balance);
        let stakes = self.validators.iter().map(|validator| validator.stake);
        balances.chain(stakes).try_fold(self.treasury, |sum, one| sum.plus(one).ok())
    }

    /// The validators of the first block.
    pub fn seats(&self) -> Result<ValidatorSet, Fault> {
        let per_power = self.params.staking.per_power.max(1);
        let seat = |one: &GenesisValidator| Validator { id: one.id, power: one.stake.0 / per_power };
        Ok(ValidatorSet::new(self.validators.iter().map(seat))?)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = self.params.faults();
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        must(
            (1..=32).contains(&self.name.len()) && self.name.bytes().all(plain),
            "name: 1 to 32 of a-z, 0-9 and -".into(),
        );
        let symbol = &self.token.symbol;
        let upper = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        must(
            (1..=12).contains(&symbol.len()) && symbol.bytes().all(upper),
            "token.symbol: 1 to 12 of A-Z and 0-9".into(),
        );
        must(self.token.decimals <= 18, "token.decimals: at most 18".into());
        let count = self.accounts.len().max(self.validators.len());
        must(count <= ACCOUNTS, format!("accounts: at most {ACCOUNTS}; pay the others after the beginning"));
        let limit = self.params.supply_limit;
        match self.supply() {
            Some(supply) => must(supply <= limit, format!("all tokens together are {supply}; supply_limit is {limit}")),
            None => must(false, "all tokens together do not fit in 64 bits".into()),
        }
        self.validators_faults(&mut must);
        let mut seen = BTreeSet::new();
        for account in self.accounts.iter().filter(|account| !seen.insert(account.id)) {
            must(false, format!("accounts: {} is named twice", account.id));
        }
        faults
    }

    fn validators_faults(&self, must: &mut impl FnMut(bool, String)) {
        let staking = &self.params.staking;
        let count = self.validators.len();
        must(count > 0, "validators: at least one".into());
        let most = staking.validators;
        must(count <= most as usize, format!("validators: {count}; staking.validators is {most}"));
        let mut seen = BTreeSet::new();
        for validator in &self.validators {
            let id = validator.id;
            must(seen.insert(id), format!("validators: {id} is named twice"));
            let (stake, least) = (validator.stake, staking.least);
            must(stake >= least, format!("validators: {id} stakes {stake}; staking.least is {least}"));
            must(validator.commission_permille <= 1000, format!("validators: {id} keeps more than 1000 thousandths"));
        }
    }

    /// Writes the state that the first block begins from.
    pub(super) fn write(&self, state: &mut State<'_>) -> Result<(), Fault> {
        let mut totals =
            Totals { treasury: self.treasury, supply: self.supply().ok_or(Fault::Overflow)?, ..Totals::default() };
        for account in &self.accounts {
            state.write(&account.id, &Account { balance: account.balance, ..Account::default() });
        }
        for validator in &self.validators {
            let id = validator.id;
            let account: Account = state.or_new(&id)?;
            state.write(&id, &Account { delegations: 1, ..account });
            let (tokens, shares, commission) = (validator.stake, validator.stake.0, validator.commission_permille);
            state.write(&id, &Pool { tokens, shares, commission, standing: Standing::Admitted, proposed: 0 });
            state.write(&(id, id), &Delegation { shares });
            totals.staked = totals.staked.plus(tokens)?;
            totals.pools += 1;
        }
        state.write(&(), &Seats(self.seats()?.iter().copied().collect()));
        state.write(&(), &self.params);
        state.write(&(), &totals);
        Ok(())
    }
}
