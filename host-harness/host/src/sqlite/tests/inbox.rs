use super::*;
use crate::port::{Accepted, DeliveryFilter, DeliveryState, InboxDepth, Keep, StoreError};

async fn claimed(store: &SqliteStore, limit: u32, now: Timestamp) -> Vec<String> {
    let claimed = store.claim(hands(limit), LEASE, now).await.unwrap();
    claimed.iter().map(|held| format!("{} {}", held.lease.org, held.lease.delivery)).collect()
}

async fn states(store: &SqliteStore) -> Vec<(DeliveryState, Option<String>)> {
    let rows = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    rows.into_iter().map(|row| (row.state, row.outcome.or(row.error))).collect()
}

#[tokio::test]
async fn a_delivery_is_stored_once_per_organisation() {
    let store = fixture().await;
    assert_eq!(store.accept(&org("acme"), delivery("msg_1", 1)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(&org("acme"), delivery("msg_1", 2)).await.unwrap(), Accepted::Duplicate);
    assert_eq!(store.accept(&org("beta"), delivery("msg_1", 3)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(&org("nobody"), delivery("msg_1", 3)).await.unwrap(), Accepted::Unknown);
    assert_eq!(store.depth().await.unwrap(), InboxDepth { pending: 2, dead: 0 });
}

#[tokio::test]
async fn a_delivery_that_comes_again_with_another_body_is_told_and_the_first_one_counts() {
    let store = fixture().await;
    let (first, mut edited) = (delivery("msg_1", 1), delivery("msg_1", 7));
    assert_eq!(store.accept(&org("acme"), first.clone()).await.unwrap(), Accepted::New);
    let altered_at = async || store.delivery(&org("acme"), &first.id).await.unwrap().unwrap().0.altered_at;
    // An attempt that was signed anew is the same delivery.
    edited.delivery.headers.clear();
    assert_eq!(store.accept(&org("acme"), edited.clone()).await.unwrap(), Accepted::Duplicate);
    assert_eq!(altered_at().await, None);
    edited.delivery.body = b"{\"edited\":true}".to_vec();
    assert_eq!(store.accept(&org("acme"), edited).await.unwrap(), Accepted::Altered);
    assert_eq!(altered_at().await, Some(7));
    let rows = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.altered_at).collect::<Vec<_>>(), [Some(7)]);
    let (_, stored) = store.delivery(&org("acme"), &first.id).await.unwrap().unwrap();
    assert_eq!(stored, first.delivery);
}

#[tokio::test]
async fn a_delivery_comes_back_as_it_arrived() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 5).await;
    assert_eq!(held.delivery, delivery("msg_1", 5).delivery);
    assert_eq!((held.attempt, held.event_type.as_str()), (1, "incident.updated"));
}

#[tokio::test]
async fn a_body_of_any_kind_comes_back_to_the_byte() {
    let store = fixture().await;
    let noise: Vec<u8> = (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bodies = [Vec::new(), b"{}".to_vec(), b"{\"text\":\"and again \"}".repeat(300), noise];
    for (number, body) in bodies.iter().enumerate() {
        let mut new = delivery(&format!("msg_{number}"), 1);
        new.delivery.body.clone_from(body);
        store.accept(&org("acme"), new).await.unwrap();
    }
    let claimed = store.claim(hands(9), LEASE, 60).await.unwrap();
    assert_eq!(claimed.iter().map(|held| held.delivery.body.clone()).collect::<Vec<_>>(), bodies);
    let (_, shown) = store.delivery(&org("acme"), &"msg_2".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(shown.body, bodies[2]);
}

/// What ends its worker, or the whole process, must not do so for ever.
#[tokio::test]
async fn a_delivery_of_which_no_attempt_comes_to_an_end_is_given_up() {
    let store = fixture().await;
    let hands = || Hands { free: 1, each: 9, attempts: 3, ..Hands::default() };
    store.accept(&org("acme"), delivery("msg_1", 1)).await.unwrap();
    for attempt in 1..=3 {
        let claimed = store.claim(hands(), LEASE, 1_000 * attempt).await.unwrap();
        assert_eq!(claimed[0].attempt, u32::try_from(attempt).unwrap());
    }
    store.accept(&org("acme"), delivery("msg_2", 2)).await.unwrap();
    let claimed = store.claim(hands(), LEASE, 9_000).await.unwrap();
    assert_eq!(claimed[0].lease.delivery.as_str(), "msg_2", "its neighbour does not wait for it");
    let states = states(&store).await;
    assert_eq!(states[1].0, DeliveryState::Dead);
    assert!(states[1].1.as_ref().unwrap().contains("without a word"), "{states:?}");
}

#[tokio::test]
async fn nothing_arrives_or_is_due_again_for_whom_is_disconnected() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 1).await;
    store.disconnect_organisation(&org("acme"), 5).await.unwrap();
    assert_eq!(store.accept(&org("acme"), delivery("msg_2", 6)).await.unwrap(), Accepted::Unknown);
    assert!(!store.replay(&org("acme"), &held.lease.delivery, 7).await.unwrap());
    assert!(store.claim(hands(9), LEASE, 9_000).await.unwrap().is_empty());
    assert_eq!(store.depth().await.unwrap(), InboxDepth { pending: 0, dead: 1 });
}

#[tokio::test]
async fn whose_deliveries_crowd_the_inbox_is_told() {
    let store = fixture().await;
    for number in 0..3 {
        store.accept(&org("acme"), delivery(&format!("a{number}"), number)).await.unwrap();
    }
    store.accept(&org("beta"), delivery("b0", 50)).await.unwrap();
    let waiting = leased(&store, "a9", 60).await;
    store.retry(&waiting.lease, "later", 9_000).await.unwrap();
    assert_eq!(store.crowding(4).await.unwrap(), [org("acme")]);
    assert_eq!(store.crowding(5).await.unwrap(), []);
}

#[tokio::test]
async fn old_deliveries_go_in_slices_and_what_waits_stays() {
    let store = fixture().await;
    let now = 100_000;
    for number in 0..1_200 {
        store.accept(&org("acme"), delivery(&format!("d{number}"), number)).await.unwrap();
    }
    let all = store.claim(hands(1_200), LEASE, 5_000).await.unwrap();
    for (number, held) in all.iter().enumerate() {
        match number {
            0 => store.bury(&held.lease, "no use", 5_000).await.unwrap(),
            1 => {}
            _ => assert_eq!(finish(&store, &held.lease, "updated", 5_000).await, 1),
        }
    }
    store.grow_older(5_000).await.unwrap();
    store.accept(&org("acme"), delivery("fresh", now)).await.unwrap();
    store.grow_older(104_000).await.unwrap();
    let old = Duration::from_micros(99_000);
    let keep = Keep { done: old, dead: old };
    let (mut after, mut slices) = (0, 0);
    while let Some(next) = store.prune(keep, now, after).await.unwrap() {
        (after, slices) = (next, slices + 1);
    }
    assert!(slices >= 2, "{slices}");
    let left = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    // Those that are not old enough, the one that waits, the dead one.
    assert_eq!(left.len(), 200 + 1 + 2);
    assert_eq!(store.accept(&org("acme"), delivery("d5", now)).await.unwrap(), Accepted::New);
}

#[tokio::test]
async fn organisations_take_turns_across_claims() {
    let store = fixture().await;
    for (id, received_at) in [("a3", 3), ("a1", 1), ("a2", 2), ("a4", 4)] {
        store.accept(&org("acme"), delivery(id, received_at)).await.unwrap();
    }
    store.accept(&org("beta"), delivery("b1", 50)).await.unwrap();
    store.accept(&org("beta"), delivery("b2", 51)).await.unwrap();
    assert_eq!(claimed(&store, 3, 60).await, ["acme a1", "beta b1", "acme a2"]);
    assert_eq!(claimed(&store, 1, 60).await, ["beta b2"]);
    assert_eq!(claimed(&store, 9, 60).await, ["acme a3", "acme a4"]);
    assert!(claimed(&store, 9, 60).await.is_empty());
}

#[tokio::test]
async fn one_organisation_does_not_fill_every_hand() {
    let store = fixture().await;
    for number in 0..6 {
        store.accept(&org("acme"), delivery(&format!("a{number}"), number)).await.unwrap();
    }
    store.accept(&org("beta"), delivery("b0", 50)).await.unwrap();
    let claim = async |busy: u32| {
        let hands = Hands { free: 9, each: 2, attempts: 9, busy: [(org("acme"), busy)].into(), ..hands(9) };
        let claimed = store.claim(hands, LEASE, 60).await.unwrap();
        claimed.iter().map(|held| held.lease.delivery.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(claim(1).await, ["a0", "b0"]);
    assert!(claim(2).await.is_empty());
    assert_eq!(claim(0).await, ["a1", "a2"]);
}

#[tokio::test]
async fn a_renewed_lease_holds_on() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 10).await;
    store.renew(vec![held.lease.clone()], LEASE, 100).await.unwrap();
    assert!(store.claim(hands(1), LEASE, 199).await.unwrap().is_empty());
    assert_eq!(store.claim(hands(1), LEASE, 200).await.unwrap().len(), 1);
    // The first holder has lost it.
    store.renew(vec![held.lease], LEASE, 1_000).await.unwrap();
    assert_eq!(store.claim(hands(1), LEASE, 300).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_delivery_that_is_given_back_is_due_at_once_and_its_attempt_does_not_count() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 10).await;
    store.give_back(vec![held.lease.clone()]).await.unwrap();
    let again = store.claim(hands(1), LEASE, 10).await.unwrap().pop().unwrap();
    assert_eq!(again.attempt, 1);
    // The first holder has lost it.
    store.give_back(vec![held.lease]).await.unwrap();
    assert!(store.claim(hands(1), LEASE, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_ran_out_makes_its_delivery_due_again() {
    let store = fixture().await;
    let first = leased(&store, "msg_1", 10).await;
    assert!(store.claim(hands(1), LEASE, 109).await.unwrap().is_empty());
    let second = store.claim(hands(1), LEASE, 110).await.unwrap().pop().unwrap();
    assert_eq!(second.attempt, 2);
    assert!(second.lease.token > first.lease.token);
    assert_eq!(finish(&store, &first.lease, "created", 111).await, 0);
    for late in [store.retry(&first.lease, "no", 111).await, store.bury(&first.lease, "no", 111).await] {
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    }
    assert_eq!(finish(&store, &second.lease, "created", 112).await, 1);
    assert_eq!(states(&store).await, [(DeliveryState::Done, Some("created".into()))]);
}

#[tokio::test]
async fn a_failed_delivery_waits_for_its_next_attempt_then_goes_first() {
    let store = fixture().await;
    let held = leased(&store, "old", 10).await;
    store.accept(&org("acme"), delivery("new", 11)).await.unwrap();
    store.retry(&held.lease, "503", 50).await.unwrap();
    let again = store.retry(&held.lease, "503", 50).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "the lease has ended");
    assert_eq!(claimed(&store, 1, 49).await, ["acme new"]);
    store.accept(&org("acme"), delivery("newest", 12)).await.unwrap();
    assert_eq!(claimed(&store, 2, 50).await, ["acme old", "acme newest"]);
}

#[tokio::test]
async fn finishing_after_a_completing_commit_adds_the_outcome_only() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 10).await;
    store.commit(&org("acme"), Vec::new(), Some(&held.lease)).await.unwrap();
    assert_eq!(states(&store).await, [(DeliveryState::Done, None)]);
    // What was applied is not tried again, whatever happened afterwards.
    assert!(matches!(store.retry(&held.lease, "trap", 11).await, Err(StoreError::Conflict)));
    assert!(matches!(store.bury(&held.lease, "trap", 11).await, Err(StoreError::Conflict)));
    assert_eq!(finish(&store, &held.lease, "updated", 12).await, 1);
    let rows = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    assert_eq!((rows[0].outcome.as_deref(), rows[0].finished_at), (Some("updated"), Some(12)));
}

#[tokio::test]
async fn a_dead_delivery_can_be_replayed() {
    let store = fixture().await;
    let acme = org("acme");
    let held = leased(&store, "msg_1", 10).await;
    assert!(!store.replay(&acme, &held.lease.delivery, 11).await.unwrap(), "it is being worked on");
    store.bury(&held.lease, "malformed", 12).await.unwrap();
    assert_eq!(states(&store).await, [(DeliveryState::Dead, Some("malformed".into()))]);
    assert_eq!(store.depth().await.unwrap(), InboxDepth { pending: 0, dead: 1 });
    assert!(store.claim(hands(1), LEASE, 9_999).await.unwrap().is_empty());

    assert!(!store.replay(&org("beta"), &held.lease.delivery, 20).await.unwrap());
    assert!(store.replay(&acme, &held.lease.delivery, 20).await.unwrap());
    assert_eq!(finish(&store, &held.lease, "late", 21).await, 0);
    let again = store.claim(hands(1), LEASE, 20).await.unwrap().pop().unwrap();
    assert_eq!(again.attempt, 1);
    assert_eq!(finish(&store, &again.lease, "updated", 22).await, 1);
    assert!(store.replay(&acme, &held.lease.delivery, 30).await.unwrap(), "one that is done, too");
    let row = store.deliveries(&acme, &DeliveryFilter::default()).await.unwrap().pop().unwrap();
    assert_eq!((row.replayed_at, row.finished_at), (Some(30), None));
}

#[tokio::test]
async fn a_list_is_of_one_organisation_newest_first() {
    let store = fixture().await;
    for (id, received_at) in [("one", 1), ("three", 3), ("two", 2)] {
        store.accept(&org("acme"), delivery(id, received_at)).await.unwrap();
    }
    store.accept(&org("beta"), delivery("foreign", 9)).await.unwrap();
    let held = store.claim(hands(1), LEASE, 10).await.unwrap().pop().unwrap();
    store.bury(&held.lease, "no", 11).await.unwrap();
    let list = async |state, limit| {
        let filter = DeliveryFilter { state, limit, ..DeliveryFilter::default() };
        let rows = store.deliveries(&org("acme"), &filter).await.unwrap();
        rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, ["three", "two", "one"]);
    assert_eq!(list(None, Some(1)).await, ["three"]);
    assert_eq!(list(Some(DeliveryState::Pending), None).await, ["three", "two"]);
    assert_eq!(list(Some(DeliveryState::Dead), None).await, ["one"]);
    assert!(list(Some(DeliveryState::Done), None).await.is_empty());
}

/// With a hundred thousand that wait, each row that is looked at in vain is felt.
#[tokio::test]
async fn what_waits_is_counted_and_taken_by_indexes_alone() {
    use crate::sqlite::inbox::{CROWDING, DEPTH, OLDEST};

    let store = fixture().await;
    for (statement, steps) in [
        (
            DEPTH,
            &["COVERING INDEX delivery_ready", "COVERING INDEX delivery_due", "COVERING INDEX delivery_dead"]
                [..],
        ),
        (CROWDING, &["COVERING INDEX delivery_ready", "COVERING INDEX delivery_due"]),
        (OLDEST, &["INDEX delivery_ready (org=? AND state=?)"]),
    ] {
        let plan = store.read(move |connection| {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}"))?;
            let values = rusqlite::params_from_iter(vec!["acme"; explain.parameter_count()]);
            let rows = explain.query_map(values, |row| row.get::<_, String>(3))?;
            Ok(rows.collect::<rusqlite::Result<Vec<String>>>()?)
        });
        let plan = plan.await.unwrap();
        let tables: Vec<&String> = plan.iter().filter(|step| step.contains(" delivery ")).collect();
        assert_eq!(tables.len(), steps.len(), "{plan:#?}");
        for step in steps {
            assert!(tables.iter().any(|table| table.contains(step)), "{step}: {plan:#?}");
        }
        assert!(!plan.iter().any(|step| step.contains("ORDER BY")), "{plan:#?}");
    }
}

#[tokio::test]
async fn nothing_is_taken_of_an_incident_that_is_to_be_left_alone() {
    let store = fixture().await;
    for (id, incident) in [("a", Some("slow")), ("b", Some("slow")), ("c", None), ("d", Some("other"))] {
        let mut new = delivery(id, 10);
        new.incident = incident.map(str::to_owned);
        store.accept(&org("acme"), new).await.unwrap();
    }
    let slow = [(org("acme"), vec!["slow".to_owned()])].into();
    let taken = store.claim(Hands { slow, ..hands(9) }, LEASE, 20).await.unwrap();
    let taken: Vec<&str> = taken.iter().map(|one| one.lease.delivery.as_str()).collect();
    assert_eq!(taken, ["c", "d"]);
    assert_eq!(claimed(&store, 9, 21).await, ["acme a", "acme b"]);
}
