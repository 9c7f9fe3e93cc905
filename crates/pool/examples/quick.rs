use pagefold_pool::*; use std::time::Instant;
fn main(){
 let span: u32 = std::env::args().nth(1).map_or(4, |s| s.parse().unwrap());
 let mb: usize = std::env::args().nth(2).map_or(256, |s| s.parse().unwrap());
 let mean: u64 = std::env::args().nth(3).map_or(1500, |s| s.parse().unwrap());
 let pl = match std::env::args().nth(4).as_deref() { Some("tight") => Placement::Tight, Some("append") => Placement::Append, _ => Placement::Auto };
 let pool = PoolBuilder::new(Allocator::Nbud).limit((mb*3/2)<<20).span_frames(span).placement(pl).build().unwrap();
 let mut s=88172645463325252u64; let mut rnd=move||{ s^=s<<13; s^=s>>7; s^=s<<17; s};
 let len = |r:u64| -> usize { (if r%10==0 {4096} else { 100 + (r>>8)%(2*mean-200) }).min(4096) as usize };
 let buf=vec![7u8;4096];
 let mut hs=vec![]; let mut bytes=0usize; let mut t=vec![];
 let start=Instant::now();
 while bytes < mb<<20 { let l=len(rnd()); let a=Instant::now(); hs.push((pool.store(&buf[..l]).unwrap(),l)); t.push(a.elapsed().as_nanos() as u32); bytes+=l; }
 let rep=|name:&str,t:&mut Vec<u32>,pool:&dyn Pool,n:usize|{ t.sort_unstable(); let st=pool.stats(); println!("{name:10} p50 {:5} p99 {:6} mean {:6.0}  density {:.4}  meta/obj {:.2} idle {:.1}M moved/op {:.0}", t[t.len()/2], t[t.len()*99/100], t.iter().map(|&x|x as f64).sum::<f64>()/t.len() as f64, st.density(), st.metadata_bytes as f64/st.objects as f64, st.idle_frame_bytes as f64/1e6, st.moved_bytes as f64/n as f64); t.clear(); };
 println!("fill {:?} {} objects", start.elapsed(), hs.len());
 rep("fill",&mut t,&*pool,hs.len());
 let n=hs.len();
 let mut tf=vec![];
 for _ in 0..3*n { let i=(rnd()%n as u64) as usize; let l=len(rnd()); let a=Instant::now(); pool.free(hs[i].0).unwrap(); tf.push(a.elapsed().as_nanos() as u32); let a=Instant::now(); hs[i]=(pool.store(&buf[..l]).unwrap(),l); t.push(a.elapsed().as_nanos() as u32); }
 rep("churn",&mut t,&*pool,3*n); tf.sort_unstable(); println!("   free p50 {} p99 {}", tf[tf.len()/2], tf[tf.len()*99/100]);
 let mut x=0u64; for _ in 0..n { let i=(rnd()%n as u64) as usize; let a=Instant::now(); pool.read(hs[i].0,&mut |s| x+=s.parts()[0][0] as u64).unwrap(); t.push(a.elapsed().as_nanos() as u32);} 
 rep("read",&mut t,&*pool,n);
 let mut k=0; hs.retain(|h|{ k+=1; if rnd()&1==0 { pool.free(h.0).unwrap(); false } else {true}});
 let a=Instant::now(); loop { let r=pool.compact(1<<20); if !r.more {break} } println!("compact {:?}", a.elapsed());
 t.push(0); rep("compact",&mut t,&*pool,n); let st=pool.stats(); println!("compacted {} of {}", st.compacted_bytes, st.payload_bytes);
 let a=Instant::now(); println!("trim {:?} {:?}", pool.trim(), a.elapsed());
 t.push(0); rep("trim",&mut t,&*pool,n);
 pool.validate().unwrap();
 for h in hs { pool.free(h.0).unwrap(); } println!("{:?}", pool.trim()); println!("{:?}", pool.stats()); pool.validate().unwrap();
 println!("{x}");
}
