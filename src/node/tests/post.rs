//! What this node sends.

use super::*;

#[test]
fn a_reader_that_declines_says_nothing_against_the_link() {
    for delivery in [Delivery::NotMine, Delivery::Early] {
        let mut machine = Machine::with([2]);
        let outputs = machine.post(peer(2), None);
        let (to, id, bundle) = sent(&outputs)[0];
        assert_eq!(to, peer(2));
        machine.tell(Input::Receipt { from: to, id, receipt: receipt(2, bundle, delivery) });
        assert_eq!(machine.node.routes.links()[0].loss_ppm, 0, "the way works");
        let again = machine.pass(60_000);
        assert!(!sent(&again).is_empty(), "it is tried again: {delivery:?}");
    }
}
