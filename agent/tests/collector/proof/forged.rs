//! Files whose maker knows the format: every checksum and link is right, and the signatures say otherwise.

use plimsoll_identity::Signer;
use plimsoll_proof::{
    Link, Statement,
    export::{Binary, Certificates, Gap},
    fingerprint,
};

use super::*;
use crate::authority::Authority;

/// Makes every link right again, from the first event on.
fn rechain(lines: &mut [Line]) {
    let mut link: Option<Link> = None;
    for line in lines {
        match line {
            Line::From(from) => link = from.chain,
            Line::Event(event) => {
                link = link.map(|link| link.next(&event.record.0));
                event.chain = link;
            }
            _ => {}
        }
    }
}

fn checked(verifier: Verifier, lines: &[Line]) -> Result<Report, Broken> {
    let lines: Vec<_> = lines.iter().map(written).collect();
    verify(verifier, lines.iter().map(Vec::as_slice))
}

fn event(line: &mut Line) -> Option<&mut Event> {
    if let Line::Event(event) = line { Some(event) } else { None }
}

/// Signs everything anew with a key of one's own, under the node's name.
fn sign_anew(lines: &mut [Line], signer: &Signer) {
    let own = hex::encode(fingerprint(signer.certificate()));
    let mut link = None;
    for line in lines {
        match line {
            Line::Event(event) => link = event.chain,
            Line::Certificates(certificates) => {
                *certificates = Certificates { chain: vec![Binary(signer.certificate().to_vec())] };
            }
            Line::Checkpoint(checkpoint) => {
                let statement = prost::Message::decode(&*checkpoint.statement.0).unwrap();
                let plimsoll_proto::v1::Statement { node, sequence, time_unix_ns, lost_stretches, .. } = statement;
                let (node, link) = (node.unwrap(), link.unwrap());
                let forged = Statement { node, sequence, link, time_unix_ns, lost_stretches }.sign(signer).unwrap();
                checkpoint.statement = Binary(forged.statement);
                (checkpoint.scheme, checkpoint.signature) = (forged.scheme, Binary(forged.signature));
                checkpoint.certificate.clone_from(&own);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_chained_anew_is_not_what_the_node_signed() {
    let (site, sent) = sent().await;
    let sent: Vec<Line> = sent.iter().map(|line| read(line)).collect();
    let trusting = || Verifier::new(authorities(&site));
    for sequence in [1, 60, u64::from(EVENTS), u64::from(EVENTS) + 1, u64::from(2 * EVENTS)] {
        let mut lines = sent.clone();
        let changed = lines.iter_mut().filter_map(event).find(|event| event.sequence == sequence).unwrap();
        *changed.record.0.last_mut().unwrap() ^= 1;
        rechain(&mut lines);
        let broken = checked(trusting(), &lines).unwrap_err();
        let at = usize::try_from(broken.line).unwrap() - 1;
        assert!(matches!((&lines[at], &broken.fault), (Line::Checkpoint(_), Fault::OtherHistory)), "{broken}");
        let next = lines[..at].iter_mut().filter_map(event).map(|event| event.sequence).max().unwrap();
        assert!(next >= sequence && next - sequence < u64::from(EVENTS), "{broken}");

        // The key is another one: only whoever has authorities can tell.
        let stranger = Authority::new();
        let files = site.files("stranger");
        stranger.node(&files, OWN, LONG);
        let read = |path| std::fs::read(path).unwrap();
        let signer = Signer::from_pem(&read(&files.certificate), &read(&files.key)).unwrap();
        sign_anew(&mut lines, &signer);
        let broken = checked(trusting(), &lines).unwrap_err();
        assert!(matches!(broken.fault, Fault::Untrusted(_)), "{broken}");
        let report = checked(Verifier::new(Vec::new()), &lines).unwrap();
        assert!(!report.numberings[0].newest.as_ref().unwrap().trusted);
    }
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_left_out_with_an_excuse_are_missed() {
    let (site, sent) = sent().await;
    let sent: Vec<Line> = sent.iter().map(|line| read(line)).collect();
    let place = sent.iter().position(|line| matches!(line, Line::Event(event) if event.sequence == 50)).unwrap();
    let Line::Event(after) = &sent[place] else { panic!() };
    for cause in [Cause::Retention, Cause::Refused, Cause::Missing, Cause::SpoolCorrupt] {
        let mut lines = sent.clone();
        let from = plimsoll_proof::export::From { sequence: 51, chain: after.chain };
        lines.splice(place..=place, [Line::Gap(Gap { first: 50, last: 50, cause }), Line::From(from)]);
        let count = lines.len() as u64;
        let Some(Line::End(end)) = lines.last_mut() else { panic!() };
        end.lines = count;
        let outcome = checked(Verifier::new(authorities(&site)), &lines);
        match cause {
            Cause::Retention => assert!(matches!(outcome.unwrap_err().fault, Fault::Order)),
            Cause::SpoolCorrupt => {
                assert!(matches!(outcome.unwrap_err().fault, Fault::Accounted { count: 1, signed: 0 }));
            }
            Cause::Refused | Cause::Missing => {
                let report = outcome.unwrap();
                assert_eq!(report.unexplained().map(|(_, gap)| (gap.first, gap.last)).collect::<Vec<_>>(), [(50, 50)]);
            }
        }
    }
    within(site.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_what_is_signed_matters() {
    let (site, sent) = sent().await;
    let before = before_each(&site, &sent);
    let mut bytes = 0;
    for (line, before) in sent.iter().zip(&before) {
        let Line::Checkpoint(checkpoint) = read(line) else { continue };
        let parts: [fn(&mut plimsoll_proof::export::Checkpoint) -> &mut Vec<u8>; 2] =
            [|checkpoint| &mut checkpoint.statement.0, |checkpoint| &mut checkpoint.signature.0];
        for part in parts {
            let mut changed = checkpoint.clone();
            for at in 0..part(&mut changed).len() {
                part(&mut changed)[at] ^= 1;
                let broken = before.clone().line(&written(&Line::Checkpoint(changed.clone()))).unwrap_err();
                assert!(matches!(broken.fault, Fault::Checkpoint(_) | Fault::NoCertificate), "{broken}");
                part(&mut changed)[at] ^= 1;
                bytes += 1;
            }
        }
    }
    println!("bytes of statements and signatures changed, checksum mended: {bytes}, all found");
    assert!(bytes > 300, "{bytes}");
    within(site.server.stop()).await.unwrap();
}
