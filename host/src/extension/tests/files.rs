//! Components that no configuration may hold: proposals this host does not speak, and more of everything than an instance
//! may have. Each is refused when it is loaded, in words.

use super::*;

/// A component of nothing but core modules, which are compiled with it.
fn wrapped(modules: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {modules})")).unwrap()
}

fn good() -> Vec<u8> {
    let module = module(r#"(func (export "pillarbox:extension/connect@0.1.0#connect") (result i32) i32.const 0)"#);
    component(&world([], ["lifecycle", "connect"]), module)
}

async fn refused(bench: &Bench, octets: &[u8]) -> String {
    bench.keep("guest", octets);
    bench
        .load("guest", "grant.session = true", "")
        .await
        .err()
        .map_or_else(String::new, |problems| problems.to_string())
}

#[tokio::test]
async fn proposals_beyond_the_host_are_refused() {
    let bench = Bench::new();
    for (proposal, module) in [
        ("memory64", "(memory i64 1)"),
        ("threads", "(memory 1 2 shared)"),
        ("atomics", "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))"),
        ("gc", "(type $point (struct (field i32))) (func (drop (struct.new_default $point)))"),
        ("references of the host", "(func (param externref))"),
        ("exceptions", "(tag $t) (func (throw $t))"),
        ("stack switching", "(type $f (func)) (type $c (cont $f)) (func (param (ref null $c)))"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        ("wide arithmetic", "(func (param i64 i64) (result i64 i64) local.get 0 local.get 1 i64.mul_wide_u)"),
    ] {
        let text = refused(&bench, &wrapped(&format!("(core module {module})"))).await;
        assert!(text.contains("the component cannot be compiled"), "{proposal}: {text}");
    }
    // The same wrapping compiles where nothing is wrong; that it is no extension is the next thing to be said.
    let text = refused(&bench, &wrapped("(core module (memory 1))")).await;
    assert!(text.contains("exports no `pillarbox:extension/lifecycle`"), "{text}");
    assert_eq!(refused(&bench, &good()).await, "");
}

#[tokio::test]
async fn more_than_an_instance_may_have_is_refused() {
    let bench = Bench::new();
    let many = |count: usize, text: &str| text.repeat(count);
    let instances = format!("(core module $m) {}", many(10_000, "(core instance (instantiate $m))"));
    let nested = (0..1_000).fold(wrapped(""), |inner, _| {
        // A section of a component, with its length in five octets.
        let length = u32::try_from(inner.len()).unwrap();
        let leb = [0, 7, 14, 21, 28].map(|shift| u8::try_from((length >> shift) & 0x7f).unwrap() | 0x80);
        let head = [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, 4];
        [&head[..], &leb[..4], &[leb[4] & 0x7f], &inner].concat()
    });
    let types = (0..150)
        .fold("(type $t0 u8)".to_owned(), |text, depth| format!("{text} (type $t{} (list $t{depth}))", depth + 1));
    let table = format!("(core module (func (param i32) (block (br_table {} (local.get 0)))))", many(200_000, "0 "));
    for (what, octets) in [
        ("memories", wrapped(&format!("(core module {})", many(5, "(memory 1)")))),
        ("tables", wrapped(&format!("(core module {})", many(10_000, "(table 1 funcref)")))),
        ("instances", wrapped(&instances)),
        ("functions", wrapped(&format!("(core module {})", many(1_000_001, "(func)")))),
        ("locals", wrapped(&format!("(core module (func (local {})))", many(50_001, "i32 ")))),
    ] {
        let text = refused(&bench, &octets).await;
        let said = ["the component cannot be compiled", "the component does not fit"].map(|words| text.contains(words));
        assert_eq!(said.into_iter().filter(|said| *said).count(), 1, "{what}: {text}");
    }
    // Large and not too large: nothing is wrong with these, and nothing comes of them.
    for (what, octets) in [("components", nested), ("types", wrapped(&types)), ("a branch table", wrapped(&table))] {
        let text = refused(&bench, &octets).await;
        assert!(!text.is_empty(), "{what}");
    }
    assert_eq!(refused(&bench, &good()).await, "");
    assert_eq!(bench.runtime.instances(), 0);
}

#[tokio::test]
async fn compiled_code_is_refused() {
    // Made by the same compiler with the same settings: the server could run it, and does not.
    let bench = Bench::new();
    let octets = good();
    let engine = bench.runtime.engine.wasmtime();
    for compiled in [engine.precompile_component(&octets), engine.precompile_module(&module(""))] {
        let text = refused(&bench, &compiled.unwrap()).await;
        assert!(text.contains("this is compiled code"), "{text}");
    }
}
