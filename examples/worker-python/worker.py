"""A worker for an external job, one run at a time: PGHOST=... PGDATABASE=... python3 worker.py resize
It ends by itself when its connection is lost: have a supervisor start it again."""
import concurrent.futures, json, os, select, signal, socket, sys, threading
import psycopg2  # Debian: python3-psycopg2

JOB, LEASE = sys.argv[1], float(os.environ.get("LEASE_MS", 60000)) / 1000

def work(args, stop):
    """The work: replace it. It may be done twice, after a crash; the event tells it to stop."""
    if stop.wait(args.get("seconds", 0)) or "fail" in args:
        raise RuntimeError(args.get("fail", "told to stop"))
    return {"seconds": args.get("seconds", 0)}

def query(sql, *params):
    with db.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

def wait(seconds, *sockets):
    if wakened in select.select([wakened, *sockets], [], [], seconds)[0]:
        wakened.recv(4096)

def perform(token, args):
    stop = threading.Event()
    future = pool.submit(work, args or {}, stop)
    future.add_done_callback(lambda _: waker.send(b"."))
    try:
        while not future.done():
            wait(LEASE / 3)
            if stopping.is_set():
                stop.set()
            query("SELECT jobs.heartbeat(%s)", token)
        if not future.exception():
            query("SELECT jobs.complete(%s, %s)", token, json.dumps(future.result()))
        elif stopping.is_set():
            query("SELECT jobs.release(%s)", token)
        else:
            query("SELECT jobs.fail(%s, %s)", token, str(future.exception()))
    except psycopg2.errors.ObjectNotInPrerequisiteState as error:  # 55000: it was taken away
        print(error, file=sys.stderr)
    finally:
        stop.set()

stopping, (wakened, waker) = threading.Event(), socket.socketpair()  # a wait ends by a signal, too
waker.setblocking(False)
signal.set_wakeup_fd(waker.fileno())
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
db = psycopg2.connect("", application_name=f"worker.py {os.getpid()}")
db.autocommit = True
query(f"LISTEN {query('SELECT jobs.channel(%s)', JOB)[0][0]}")  # before the first claim
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    while not stopping.is_set():
        db.notifies.clear()
        runs = query("SELECT token, args FROM jobs.claim(%s, 1, %s)", JOB, f"{LEASE} s")
        if runs:
            perform(*runs[0])
        elif not db.notifies:
            wait(60, db)
        db.poll()
