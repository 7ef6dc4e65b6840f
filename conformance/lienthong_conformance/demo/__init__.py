"""The demo: three agencies with three kinds of document system exchange letters over a simulated axis.

``plan`` says what is sent and what must come of it, ``stage`` starts and ends the processes, ``offices`` and
``product`` are the three document systems as their clerks use them, ``tally`` counts from the simulators' records,
``report`` shows it, ``play`` is the order of events.
"""
