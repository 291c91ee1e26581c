//! Endorsements: their bytes for ever, and what is refused before anybody counts.

use serde::{Deserialize, Serialize};

use super::*;
use crate::types::chain::{BlockId, ChainId, Height, Validator, ValidatorSet};
use crate::wire::agreement::{Step, Vote};
use crate::wire::ledger::{BlockHeader, Endorsed, Endorsement, EndorsementAsk, Extent, Finality};

/// Inputs are in the test; what comes of them is in the file.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    asked: String,
    digest: String,
    signature: String,
    request: String,
    signed: String,
    differs: String,
    behind: String,
    busy: String,
    endorsement: String,
}

fn extent() -> Extent {
    let head = |name: &str, retained, root| CollectionHead { name: name.into(), retained, root: Hash([root; 32]) };
    Extent {
        chain: ChainId(Hash([9; 32])),
        network: network().id(),
        until: WallMs(START_MS),
        collections: vec![head("empty", 0, 0), head("prices", 70_000, 3)],
    }
}

fn header_at(height: u64) -> BlockHeader {
    let set = ValidatorSet::new([Validator { id: author(), power: 3 }]).unwrap();
    BlockHeader {
        height: Height(height),
        round: 0,
        time_ms: WallMs(START_MS),
        chain: ChainId(Hash([9; 32])),
        parent: BlockId(Hash([4; 32])),
        transactions_root: Hash::ZERO,
        state_root: Hash([5; 32]),
        receipts_root: Hash::ZERO,
        validators: set.hash(),
        next_validators: set.hash(),
        evidence_root: Hash::ZERO,
        anchors_root: Hash::ZERO,
        proposer: author(),
    }
}

fn asked() -> EndorsementAsk {
    EndorsementAsk { height: Height(7), block: header_at(7).id(), extent: extent() }
}

fn endorsement() -> Endorsement {
    let validators = ValidatorSet::new([Validator { id: author(), power: 3 }]).unwrap();
    let finality = Finality { header: header_at(7), validators, certificate: Bytes::from_static(b"certificate") };
    let signatures = vec![(author(), asked().sign(&key()))];
    Endorsement { extent: extent(), finalities: vec![finality], signatures }
}

#[test]
fn bytes_of_an_endorsement_are_the_golden_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/endorsement.json");
    let said = |said: Endorsed| hex::encode(Response::State(StateResponse::Endorsed(said)).encode());
    let head = extent().collections.remove(1);
    let now = Vectors {
        asked: hex::encode(ledger::binary(&asked())),
        digest: asked().digest(author()).to_string(),
        signature: hex::encode(asked().sign(&key()).0),
        request: hex::encode(Request::State(StateRequest::Endorse(Box::new(asked()))).encode()),
        signed: said(Endorsed::Signed(asked().sign(&key()))),
        differs: said(Endorsed::Differs(head)),
        behind: said(Endorsed::Behind(Height(6))),
        busy: said(Endorsed::Busy),
        endorsement: hex::encode(endorsement().encode().unwrap()),
    };
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let pinned: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(pinned, now);
    assert_eq!(Endorsement::decode(&hex::decode(&pinned.endorsement).unwrap()), Ok(endorsement()));
    let request = Request::decode(&hex::decode(&pinned.request).unwrap()).unwrap();
    assert_eq!(request, Request::State(StateRequest::Endorse(Box::new(asked()))));
}

#[test]
fn an_endorsement_is_no_vote_and_holds_for_what_was_said_alone() {
    let signature = asked().sign(&key());
    assert!(asked().holds(author(), &signature) && !asked().holds(NodeId([1; 32]), &signature));
    let others: [&dyn Fn(&mut EndorsementAsk); 8] = [
        &|asked| asked.height = Height(8),
        &|asked| asked.block = BlockId(Hash([1; 32])),
        &|asked| asked.extent.chain = ChainId(Hash([8; 32])),
        &|asked| asked.extent.network = NetworkId(Hash([8; 32])),
        &|asked| asked.extent.until = WallMs(START_MS + 1),
        &|asked| asked.extent.collections[1].retained += 1,
        &|asked| asked.extent.collections[1].root = Hash([4; 32]),
        &|asked| drop(asked.extent.collections.remove(0)),
    ];
    for change in others {
        let mut other = asked();
        change(&mut other);
        assert!(!other.holds(author(), &signature), "{other:?}");
    }
    // What a validator says of a block in agreement has another label, whatever its fields.
    for step in [Step::Prevote, Step::Precommit] {
        let vote = Vote { step, height: Height(7), round: 0, value: Some(asked().block), voter: author() };
        assert_ne!(vote.digest(extent().chain), asked().digest(author()));
        assert!(!asked().holds(author(), &vote.sign(extent().chain, &key()).signature));
    }
}

#[test]
fn what_cannot_be_an_extent_or_an_endorsement_is_refused() {
    let head = |name: &str| CollectionHead { name: name.into(), retained: 1, root: Hash::ZERO };
    let many = (0..=limits::COLLECTIONS).map(|n| head(&format!("c{n:05}"))).collect();
    let long = "x".repeat(limits::COLLECTION_BYTES + 1);
    let wrong =
        [vec![], many, vec![head("b"), head("a")], vec![head("a"), head("a")], vec![head("a/b")], vec![head(&long)]];
    for collections in wrong {
        let extent = Extent { collections, ..extent() };
        let request = StateRequest::Endorse(Box::new(EndorsementAsk { extent: extent.clone(), ..asked() }));
        let refused = Request::decode(&Request::State(request).encode());
        assert!(matches!(refused, Err(Refusal::Frame { .. })), "{refused:?}");
        let file = Endorsement { extent, ..endorsement() }.encode().unwrap();
        assert!(matches!(Endorsement::decode(&file), Err(Refusal::Frame { .. })));
    }
    let named = Response::State(StateResponse::Endorsed(Endorsed::Differs(head(&long)))).encode();
    assert!(matches!(Response::decode(&named), Err(Refusal::Frame { .. })));
    let (one, whole) = (endorsement().signatures[0], endorsement());
    let signed = |signatures| Endorsement { signatures, ..whole.clone() }.encode().unwrap();
    for signatures in [vec![], vec![one, one], vec![(NodeId([255; 32]), one.1), (NodeId([1; 32]), one.1)]] {
        assert!(matches!(Endorsement::decode(&signed(signatures)), Err(Refusal::Frame { .. })));
    }
    let bare = Endorsement { finalities: vec![], ..whole.clone() }.encode().unwrap();
    assert!(matches!(Endorsement::decode(&bare), Err(Refusal::Frame { .. })));
    let large = vec![0; limits::FRAME_BYTES + 1];
    assert_eq!(Endorsement::decode(&large), Err(Refusal::TooLarge { size_bytes: large.len() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_byte_makes_another_endorsement_or_none(at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let whole = endorsement().encode().unwrap();
        let mut bytes = whole.clone();
        *at.get_mut(&mut bytes) ^= by;
        if let Ok(read) = Endorsement::decode(&bytes) {
            prop_assert_eq!(read.encode().unwrap(), bytes);
            prop_assert_ne!(read, endorsement());
        }
        for cut in 0..whole.len() {
            prop_assert!(Endorsement::decode(&whole[..cut]).is_err());
        }
    }

    #[test]
    fn noise_is_no_endorsement(bytes: Vec<u8>) {
        prop_assert!(Endorsement::decode(&bytes).is_err());
        prop_assert!(Endorsement::decode(&[b"metanode/endorsement/1".as_slice(), &bytes].concat()).is_err());
    }
}
