"""SQLAlchemy with PostgreSQL: a commit whose acknowledgement is lost, and connections that died in the pool.

Needs a PostgreSQL server, SQLAlchemy and psycopg. DATABASE says where and who:
postgresql+psycopg://postgres@localhost:5432/postgres if it is not set.

    pytest examples/test_sqlalchemy.py               the naive code fails as expected, the hardened one passes
    pytest examples/test_sqlalchemy.py --runxfail    shows how the naive code fails
"""

import os
import uuid

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, func, make_url, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

import vaurien

DATABASE = make_url(os.environ.get("DATABASE", "postgresql+psycopg://postgres@localhost:5432/postgres"))

payments = Table(
    f"payments_{uuid.uuid4().hex}",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("customer", Text),
    Column("key", Text, unique=True),
)


def pay_again(engine, customer, key):
    """It failed, so nothing was paid: begin anew. Is that so?"""
    for _ in range(3):
        try:
            with engine.begin() as connection:
                connection.execute(insert(payments).values(customer=customer))
            return
        except OperationalError:
            continue


def pay_once(engine, customer, key):
    """A commit without an answer may have happened. The key, made once per payment, tells the database."""
    for attempt in range(3):
        try:
            with engine.begin() as connection:
                statement = insert(payments).values(customer=customer, key=key)
                connection.execute(statement.on_conflict_do_nothing(index_elements=["key"]))
            return
        except OperationalError:
            if attempt == 2:
                raise


def trusting(url):
    return create_engine(url)


def careful(url):
    """Asks a connection from the pool whether it still lives, before it is used."""
    return create_engine(url, pool_pre_ping=True)


@pytest.fixture
def proxy():
    with vaurien.Proxy(backend=f"{DATABASE.host}:{DATABASE.port or 5432}", protocol="postgres") as proxy:
        yield proxy


@pytest.fixture
def url(proxy):
    # sslmode: what is inside TLS cannot be told apart, and COMMIT has to be.
    return DATABASE.set(host=proxy.host, port=proxy.port).update_query_dict({"sslmode": "disable"})


@pytest.fixture
def customer():
    engine = create_engine(DATABASE)
    payments.create(engine)
    yield str(uuid.uuid4())
    payments.drop(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "pay", [pytest.param(pay_again, marks=pytest.mark.xfail(raises=AssertionError, strict=True)), pay_once]
)
def test_a_lost_acknowledgement_costs_nobody_twice(proxy, url, customer, pay):
    engine = careful(url)
    # PostgreSQL commits, and the connection ends before it can say so.
    with proxy.fault("abort", match={"query": "COMMIT"}, scope="exchange", window={"count": 1}):
        pay(engine, customer, key=str(uuid.uuid4()))
    assert proxy.hits("abort") == 1
    with engine.connect() as connection:
        paid = connection.scalar(select(func.count()).where(payments.c.customer == customer))
    engine.dispose()
    assert paid == 1


@pytest.mark.parametrize(
    "connect", [pytest.param(trusting, marks=pytest.mark.xfail(raises=OperationalError, strict=True)), careful]
)
def test_a_connection_that_died_in_the_pool_is_not_used(proxy, url, connect):
    engine = connect(url)
    with engine.connect() as connection:
        connection.execute(select(1))
    # The database was restarted, or a firewall forgot the connection.
    proxy.reset_connections()
    try:
        with engine.connect() as connection:
            assert connection.scalar(select(1)) == 1
    finally:
        engine.dispose()
