//! The rules of a chain that are numbers: genesis sets them, votes change the fees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::chain::VALIDATORS;
use crate::types::{NodeId, Tokens};
use crate::wire::kind::economic::FeeType;
use crate::wire::ledger::FEE;

/// What things cost, base units. A transaction pays `transaction + byte × its bytes + gas × its gas` or more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    /// Each transaction.
    pub transaction: Tokens,
    /// Each byte of it.
    pub byte: Tokens,
    /// Each unit of gas.
    pub gas: Tokens,
    /// Each byte stored, for an epoch.
    pub storage: Tokens,
    /// Of every fee so much is burned, thousandths.
    pub burned_permille: u16,
    /// And so much is the treasury's; the rest is the proposer's.
    pub treasury_permille: u16,
    /// Gas a block should take. Above, the price of gas rises by an eighth a block at most; below, it falls, not under
    /// 1. With 0 only votes change it.
    pub gas_target: u64,
}

/// How stake becomes a voice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Staking {
    /// Validators at once, at most.
    pub validators: u32,
    /// What a validator has staked on itself, at least.
    pub least: Tokens,
    /// So many base units of stake are one of power.
    pub per_power: u64,
    /// Stake that is taken back is free at the end of so many epochs later.
    pub unbonding_epochs: u64,
    /// Of its stake a validator that signs two things loses so much, thousandths.
    pub slash_permille: u16,
    /// Whether validators must be admitted by a vote.
    pub by_vote: bool,
}

/// What comes into being at the end of each epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    /// In the first epochs.
    pub per_epoch: Tokens,
    /// Halved after so many epochs, and again; 0 is never.
    pub halve_every: u64,
    /// Thousandths for those who made the blocks, by blocks.
    pub validators_permille: u16,
    /// For those who staked, by stake.
    pub stakers_permille: u16,
    /// For miners, by work.
    pub miners_permille: u16,
    /// What a miner looks for: so many leading zero bits; 0 is no mining.
    pub mining_bits: u8,
}

/// How things are decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Voting {
    /// What is bound to a proposal, at least.
    pub deposit: Tokens,
    /// Votes are taken to the end of so many epochs after the one of the proposal.
    pub epochs: u64,
    /// Of all stake so much must vote, thousandths.
    pub quorum_permille: u16,
    /// Of yes, no and veto more than so much must be yes, thousandths.
    pub threshold_permille: u16,
    /// Of all votes so much vetoes, thousandths.
    pub veto_permille: u16,
}

/// The rules of a chain that are numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// What the supply never passes.
    pub supply_limit: Tokens,
    /// Who may mint; nobody, if none.
    #[serde(default)]
    pub minter: Option<NodeId>,
    /// What things cost.
    pub fees: Fees,
    /// How stake becomes a voice.
    pub staking: Staking,
    /// What comes into being.
    pub emission: Emission,
    /// How things are decided.
    pub voting: Voting,
}

impl Default for Params {
    /// A chain that works: epochs of 1,000 blocks, small fees, two thirds of the stakers decide.
    fn default() -> Params {
        Params {
            epoch_blocks: 1_000,
            supply_limit: Tokens::MOST,
            minter: None,
            fees: Fees {
                transaction: Tokens(10),
                byte: Tokens(1),
                gas: Tokens(10),
                storage: Tokens(1),
                burned_permille: 200,
                treasury_permille: 300,
                gas_target: 0,
            },
            staking: Staking {
                validators: 100,
                least: Tokens(1_000_000),
                per_power: 1_000,
                unbonding_epochs: 14,
                slash_permille: 50,
                by_vote: false,
            },
            emission: Emission {
                per_epoch: Tokens(1_000_000),
                halve_every: 0,
                validators_permille: 400,
                stakers_permille: 600,
                miners_permille: 0,
                mining_bits: 0,
            },
            voting: Voting {
                deposit: Tokens(100_000),
                epochs: 7,
                quorum_permille: 334,
                threshold_permille: 500,
                veto_permille: 334,
            },
        }
    }
}

impl Params {
    /// The epoch of a block, from 0.
    pub fn epoch(&self, height: u64) -> u64 {
        height.saturating_sub(1) / self.epoch_blocks.max(1)
    }

    /// Whether a block is the last of its epoch.
    pub fn ends_epoch(&self, height: u64) -> bool {
        height.is_multiple_of(self.epoch_blocks.max(1))
    }

    /// Sets a fee.
    pub fn set_fee(&mut self, fee_type: FeeType, fee: Tokens) {
        match fee_type {
            FeeType::Transaction => self.fees.transaction = fee,
            FeeType::Byte => self.fees.byte = fee,
            FeeType::Gas => self.fees.gas = fee,
            FeeType::Storage => self.fees.storage = fee,
        }
    }

    /// Everything that is wrong with them, in words.
    pub fn faults(&self) -> Vec<String> {
        let Params { epoch_blocks, supply_limit, fees, staking, emission, voting, minter: _ } = self;
        let mut faults = Vec::new();
        let mut must = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_string());
            }
        };
        must(*epoch_blocks > 0, "epoch_blocks: an epoch has at least one block");
        must(*supply_limit <= Tokens::MOST, "supply_limit: less than 2^62, so that all power fits in 64 bits");
        let dear = [fees.transaction, fees.byte, fees.gas, fees.storage].into_iter().any(|fee| fee.0 > FEE);
        must(!dear, "fees: each at most 2^40");
        let shared = u32::from(fees.burned_permille) + u32::from(fees.treasury_permille);
        must(shared <= 1000, "fees.burned_permille and fees.treasury_permille: together at most 1000");
        must((1..=VALIDATORS as u32).contains(&staking.validators), "staking.validators: 1 to 256");
        must(staking.per_power > 0, "staking.per_power: at least 1");
        must(staking.least.0 >= staking.per_power, "staking.least: at least staking.per_power, or it is no power");
        must(staking.slash_permille <= 1000, "staking.slash_permille: at most 1000");
        let parts = [emission.validators_permille, emission.stakers_permille, emission.miners_permille];
        let parts = parts.into_iter().map(u32::from).sum::<u32>();
        must(parts <= 1000, "emission: the thousandths for validators, stakers and miners are together at most 1000");
        must(
            emission.miners_permille == 0 || emission.mining_bits > 0,
            "emission.mining_bits: miners who are paid must have something to look for",
        );
        must(
            voting.epochs < staking.unbonding_epochs,
            "voting.epochs: less than staking.unbonding_epochs, or the same stake could vote twice",
        );
        must(
            voting.epochs <= 1 << 20 && staking.unbonding_epochs <= 1 << 20,
            "voting.epochs, staking.unbonding_epochs: at most 2^20",
        );
        let parts = [voting.quorum_permille, voting.threshold_permille, voting.veto_permille];
        must(
            parts.into_iter().all(|part| (1..=1000).contains(&part)),
            "voting: quorum, threshold and veto are 1 to 1000 thousandths",
        );
        must(
            voting.threshold_permille >= 500,
            "voting.threshold_permille: at least 500, or more could be against it than for it",
        );
        must(!voting.deposit.is_zero(), "voting.deposit: more than nothing");
        faults
    }
}
