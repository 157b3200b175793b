//! Wrong servers, as far as their SDP answers show it.

use super::How::{Ask, Forge, Reply as Alter};
use super::proxy::Reply;
use super::{Group, Mutant, When};

/// The groups of this file.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "answer", when: When::Live, mutants: ANSWER },
    Group { name: "transport", when: When::Live, mutants: TRANSPORT },
    Group { name: "viewer", when: When::Live, mutants: VIEWER },
    Group { name: "presenter", when: When::Presenting, mutants: PRESENTER },
    Group { name: "second presenter", when: When::Presenting, mutants: SECOND },
];

const ANSWER: &[Mutant] = &[
    Mutant::new("another transport protocol", &["SDP-01"], Alter(|_, r| r.replace("UDP/TLS/RTP", "RTP"))),
    Mutant::new("another mid", &["SDP-02"], Alter(|_, r| r.replace("a=mid:0\r\n", "a=mid:9\r\n"))),
    Mutant::new(
        "payload type that was not offered",
        &["SDP-03"],
        Alter(|_, r| {
            r.lines(|l| Some(if l.starts_with("m=audio") { format!("{l} 99") } else { l.to_owned() }));
        }),
    ),
    Mutant::new("RTX for nothing", &["SDP-04"], Alter(|_, r| r.replace("apt=", "apt=7"))),
    Mutant::new("feedback that was not offered", &["SDP-05"], Alter(|_, r| after_mid(r, "a=rtcp-fb:111 x-odd"))),
    Mutant::new(
        "extension that was not offered",
        &["SDP-06"],
        Alter(|_, r| {
            after_mid(r, "a=extmap:9 urn:example:never-heard-of");
        }),
    ),
    Mutant::new("no t=", &["SDP-07"], Alter(|_, r| r.without(&["t="]))),
    Mutant::new(
        "bare line feeds",
        &["SDP-07"],
        Alter(|_, r| {
            if r.is_created() {
                r.rewrite(|text| text.replace("\r\n", "\n"));
            }
        }),
    ),
    Mutant::new(
        "rejected section in the group",
        &["SDP-08"],
        Alter(|_, r| {
            r.lines(|l| Some(if l.starts_with("a=group:BUNDLE") { format!("{l} 2") } else { l.to_owned() }));
        }),
    ),
    Mutant::new(
        "CRLF or nothing",
        &["SDP-09"],
        Forge(|q| (q.is("POST") && !q.text().contains('\r') && q.text().contains("m=")).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "takes an invented codec",
        &["SDP-11"],
        Ask(|q| {
            if !q.text().contains("H264") {
                q.body = q.text().replace(" FOO/", " VP8/").into_bytes();
            }
        }),
    ),
    Mutant::new(
        "lists an invented codec",
        &["SDP-12"],
        Alter(|q, r| {
            if q.text().contains(" FOO/") {
                r.lines(|l| Some(if l.starts_with("m=video") { format!("{l} 96") } else { l.to_owned() }));
            }
        }),
    ),
    Mutant::new(
        "answer of nine kilobytes",
        &["SDP-15"],
        Alter(|_, r| {
            if r.is_created() {
                r.rewrite(|text| {
                    text.to_owned() + &"a=x-long:0123456789012345678901234567890123456789\r\n".repeat(200)
                });
            }
        }),
    ),
    Mutant::new(
        "repair SSRC only in a group",
        &["SDP-16"],
        Alter(|_, r| {
            if r.is_created() {
                r.rewrite(|text| format!("{text}a=ssrc-group:FID 1 2\r\n"));
            }
        }),
    ),
];

/// Adds a line behind each `a=mid`.
fn after_mid(reply: &mut Reply, line: &str) {
    reply.lines(|l| Some(if l.starts_with("a=mid:") { format!("{l}\r\n{line}") } else { l.to_owned() }));
}

const TRANSPORT: &[Mutant] = &[
    Mutant::new("no BUNDLE group", &["WHIP-4.4.1-01"], Alter(|_, r| r.without(&["a=group"]))),
    Mutant::new(
        "no ICE credentials",
        &["WHIP-4.4.1-02", "WHIP-4.4.1-08", "ICE-SDP-01"],
        Alter(|_, r| {
            r.without(&["a=ice-ufrag", "a=ice-pwd"]);
        }),
    ),
    Mutant::new("no rtcp-mux", &["WHIP-4.4.1-05", "WHIP-4.4.1-08"], Alter(|_, r| r.without(&["a=rtcp-mux"]))),
    Mutant::new(
        "wants a group",
        &["WHIP-4.4.1-07"],
        Forge(|q| (q.is("POST") && !q.text().contains("a=group")).then(|| Reply::status(400))),
    ),
    Mutant::new(
        "role in the first section only",
        &["WHIP-4.4.1-08"],
        Alter(|_, r| {
            if r.is_created() {
                r.rewrite(|text| match text.split_once("\r\nm=video") {
                    Some((head, video)) if head.contains("m=audio") => {
                        let video: String = video.split_inclusive('\n').filter(|l| !l.starts_with("a=setup")).collect();
                        format!("{head}\r\nm=video{video}")
                    }
                    _ => text.to_owned(),
                });
            }
        }),
    ),
    Mutant::new(
        "setup:actpass",
        &["WHIP-4.4.4-01", "WHIP-4.4.4-02", "WHIP-4.4.4-03"],
        Alter(|_, r| {
            r.replace("a=setup:passive", "a=setup:actpass");
            r.replace("a=setup:active", "a=setup:actpass");
        }),
    ),
    Mutant::new(
        "active to active",
        &["WHIP-4.4.4-02"],
        Alter(|q, r| {
            if q.text().contains("a=setup:active") {
                r.replace("a=setup:passive", "a=setup:active");
            }
        }),
    ),
    Mutant::new(
        "passive to passive",
        &["WHIP-4.4.4-03"],
        Alter(|q, r| {
            if q.text().contains("a=setup:passive") {
                r.replace("a=setup:active", "a=setup:passive");
            }
        }),
    ),
    Mutant::new(
        "fingerprint by MD5",
        &["DTLS-SDP-01"],
        Alter(|_, r| {
            r.replace("a=fingerprint:sha-256", "a=fingerprint:md5");
        }),
    ),
    Mutant::new(
        "short ICE password",
        &["ICE-SDP-01"],
        Alter(|_, r| {
            r.lines(|l| Some(if l.starts_with("a=ice-pwd") { "a=ice-pwd:short".into() } else { l.to_owned() }));
        }),
    ),
    Mutant::new("ice-lite in a section", &["ICE-SDP-02"], Alter(|_, r| after_mid(r, "a=ice-lite"))),
    Mutant::new("does not tell that it trickles", &["ICE-SDP-03"], Alter(|_, r| r.without(&["a=ice-options"]))),
    Mutant::new("no candidate", &["ICE-SDP-04", "ICE-SDP-06"], Alter(|_, r| r.without(&["a=candidate"]))),
    Mutant::new("no end of candidates", &["ICE-SDP-05"], Alter(|_, r| r.without(&["a=end-of-candidates"]))),
    Mutant::new(
        "candidate at 0.0.0.0",
        &["ICE-SDP-06"],
        Alter(|_, r| {
            r.lines(|l| {
                Some(if l.starts_with("a=candidate") { l.replace("127.0.0.1", "0.0.0.0") } else { l.to_owned() })
            });
        }),
    ),
    Mutant::new(
        "candidate for RTCP",
        &["ICE-SDP-07"],
        Alter(|_, r| {
            r.lines(|l| {
                let second = l.replacen(" 1 ", " 2 ", 1);
                Some(if l.starts_with("a=candidate") { format!("{l}\r\n{second}") } else { l.to_owned() })
            });
        }),
    ),
];

const VIEWER: &[Mutant] = &[
    Mutant::new("answers sendrecv", &["WHEP-4.2.5-01"], Alter(|_, r| r.replace("a=sendonly", "a=sendrecv"))),
    Mutant::new(
        "plays to those who want nothing",
        &["WHEP-4.2.5-02"],
        Ask(|q| {
            if q.is("POST") {
                let text = q.text().replace("a=inactive", "a=recvonly").replace("a=sendonly", "a=recvonly");
                q.body = text.into_bytes();
            }
        }),
    ),
    Mutant::new("no MediaStream", &["WHEP-4.5.2-01"], Alter(|_, r| r.without(&["a=msid"]))),
    Mutant::new("no H264", &["SDP-13"], Alter(|_, r| r.replace(" H264/", " H261/"))),
    Mutant::new(
        "leaves the role open",
        &["WHEP-4.5.x-01"],
        Alter(|_, r| {
            r.replace("a=setup:passive", "a=setup:actpass");
            r.replace("a=setup:active", "a=setup:actpass");
        }),
    ),
    Mutant::new(
        "takes any tag",
        &["WHEP-4.4-01"],
        Alter(|q, r| {
            if q.at_session("PATCH") && r.status == 412 {
                r.status = 204;
            }
        }),
    ),
    Mutant::new(
        "refuses the offer for a data channel",
        &["WHEP-4.2.1-05"],
        Forge(|q| q.text().contains("m=application").then(|| Reply::status(422))),
    ),
];

const PRESENTER: &[Mutant] = &[
    Mutant::new("answers sendrecv", &["WHIP-4.2-30"], Alter(|_, r| r.replace("a=recvonly", "a=sendrecv"))),
    Mutant::new(
        "takes offers without media",
        &["WHIP-4.2-31"],
        Ask(|q| {
            if q.is("POST") {
                let text = q.text().replace("a=inactive", "a=sendonly").replace("a=recvonly", "a=sendonly");
                q.body = text.into_bytes();
            }
        }),
    ),
    Mutant::new(
        "refuses bundle-only",
        &["WHIP-4.4.1-04"],
        Forge(|q| q.text().contains("a=bundle-only").then(|| Reply::status(422))),
    ),
    Mutant::new(
        "406 for what it cannot take",
        &["WHIP-4.4.2-01", "WHIP-4.4.3-01"],
        Alter(|_, r| {
            if matches!(r.status, 400 | 422) {
                r.status = 406;
            }
        }),
    ),
    Mutant::new(
        "wants a MediaStream",
        &["WHIP-4.4.2-02"],
        Forge(|q| (q.is("POST") && !q.text().contains("a=msid:")).then(|| Reply::status(422))),
    ),
    Mutant::new("knows no FFmpeg", &["SDP-10"], Forge(|q| q.text().contains("o=FFmpeg").then(|| Reply::status(400)))),
    Mutant::new(
        "layers in another order",
        &["WHIP-4.8-02"],
        Alter(|_, r| {
            r.replace("a=simulcast:recv 0;1;2", "a=simulcast:recv 2;1;0");
        }),
    ),
    Mutant::new("layers without a=rid", &["WHIP-4.8-03"], Alter(|_, r| r.without(&["a=rid:"]))),
    Mutant::new(
        "answers in part",
        &["WHIP-4.4.3-01"],
        Forge(|q| {
            let odd = q.is("POST") && q.text().contains("m=application");
            odd.then(|| Reply { body: PARTIAL.into(), ..Reply::status(201) })
        }),
    ),
    Mutant::new("one H264 profile less", &["SDP-14"], Alter(|_, r| r.replace(" 112", ""))),
    Mutant::new(
        "404 for a token without rights",
        &["W-4.7-04"],
        Alter(|_, r| {
            if r.status == 403 {
                r.status = 404;
            }
        }),
    ),
];

const SECOND: &[Mutant] = &[Mutant::new(
    "two presenters at once",
    &["W-4.2-24"],
    Forge(|q| {
        let second = q.is("POST") && q.times > 0;
        if second {
            let mut reply = Reply { body: PARTIAL.as_bytes().to_vec(), ..Reply::status(201) };
            reply.set("location", "/session/second");
            return Some(reply);
        }
        q.path.ends_with("/session/second").then(|| Reply::status(200))
    }),
)];

/// One section taken, one rejected.
const PARTIAL: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                       m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
